"""How long training takes, and how much of that is waiting for data."""

import statistics
import time
from typing import Any

import lightning as L
from lightning.pytorch.profilers import Profiler

from crossbatch.training.run_parts import RunParts

TIMED = 3  # batches


def augmentation_seconds(parts: RunParts) -> float:
    """Seconds that augmentation adds to a batch in one process, without reading files; median of `TIMED` batches."""
    feed, times = parts.feed, list[float]()
    for step in range(TIMED):
        ids = parts.data.train.ids[feed.batches[step]].tolist()
        seeds, taken = list(range(len(ids))), list[float]()
        for transform in (feed.evenly, feed.augmentation):
            looks = [transform.look(seed) for seed in seeds]
            views = [view for view in feed.reader.see(ids, looks) if view is not None]
            began = time.perf_counter()
            for look in looks:
                look(*(2 * side for side in feed.evenly.preprocessing.sides))
            transform(views, seeds[: len(views)])
            taken.append(time.perf_counter() - began)
        times.append(max(0.0, taken[1] - taken[0]))
    return statistics.median(times)


class Waiting(Profiler):
    """Seconds in which the training loop waited for the loader to give a batch.

    A GPU runs its steps behind the loop. The loop may wait for a batch while the GPU still works, so that the GPU
    itself waits no longer than this.
    """

    action = "train_dataloader_next"  # end of Lightning's name for the request of a batch

    def __init__(self) -> None:
        super().__init__()
        self.seconds, self.asked = 0.0, 0.0

    def start(self, action_name: str) -> None:
        """Note the time when the loop asks for a batch."""
        if action_name.endswith(self.action):
            self.asked = time.perf_counter()

    def stop(self, action_name: str) -> None:
        """Add the time that the loop waited for its batch."""
        if action_name.endswith(self.action):
            self.seconds += time.perf_counter() - self.asked


class Throughput(L.Callback):
    """Seconds from asking for a batch to the end of its step, filling the memory included, summed over the steps.

    Validation and saving, which take place between steps, are not counted, nor is the wait for the first batch.
    """

    def __init__(self) -> None:
        self.seconds, self.images = 0.0, 0
        self._began, self._before = time.perf_counter(), 0.0
        self.waiting, self._waited = Waiting(), 0.0

    def on_train_batch_end(self, *arguments: Any) -> None:
        """Count a step."""
        self.seconds += time.perf_counter() - self.waiting.asked
        trainer, _, _, (_, labels, _), _ = arguments
        self.images += len(labels) * trainer.world_size  # processes differ by one image at most

    def on_train_start(self, *_: Any) -> None:
        """Leave out the wait for the first batch."""
        self.waiting.seconds = self._waited

    @property
    def in_all(self) -> float:
        """Seconds of the run, with validation, saving and the time before the run was stopped."""
        return self._before + time.perf_counter() - self._began

    @property
    def images_per_second(self) -> float:
        """Training images per second so far."""
        return self.images / self.seconds if self.seconds else 0.0

    @property
    def waiting_share(self) -> float:
        """Share of the seconds in which the loop waited for data."""
        return min(1.0, self.waiting.seconds / self.seconds) if self.seconds else 0.0

    def state_dict(self) -> dict[str, Any]:
        """The times so far, so that a resumed run reports its whole time."""
        return {
            "seconds": self.seconds,
            "images": self.images,
            "waited": self.waiting.seconds,
            "in_all": self.in_all,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the times, and add to them from here."""
        self.seconds, self.images = state_dict["seconds"], state_dict["images"]
        self._before = state_dict["in_all"]
        self._waited = self.waiting.seconds = state_dict["waited"]  # a finished run does not start training again
