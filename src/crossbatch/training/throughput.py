"""How long training takes, and how much of that is waiting for data."""

import statistics
import time
from typing import Any

import lightning as L
from lightning.pytorch.profilers import Profiler

from crossbatch.training.run_parts import RunParts

TIMED = 3  # batches


def augmentation_seconds(parts: RunParts) -> float:
    """Seconds that augmentation adds to the reading of a batch, the median of a few; in one process, files apart."""
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
    """Seconds in which the loop had no batch and waited for the loader, and for nothing else.

    With a GPU the steps run behind the loop: it may wait for a batch while the GPU still works, so that the GPU
    itself waited no longer than this.
    """

    action = "train_dataloader_next"  # how Lightning's name for it ends

    def __init__(self) -> None:
        super().__init__()
        self.seconds, self.asked = 0.0, 0.0

    def start(self, action_name: str) -> None:
        """The loop asks for a batch."""
        if action_name.endswith(self.action):
            self.asked = time.perf_counter()

    def stop(self, action_name: str) -> None:
        """It has it."""
        if action_name.endswith(self.action):
            self.seconds += time.perf_counter() - self.asked


class Throughput(L.Callback):
    """Seconds from asking for a batch to the end of its step, filling the memory included, summed over the steps.

    What is between steps, validation and saving, is not counted, nor is the first batch, which is there at the start.
    """

    def __init__(self) -> None:
        self.seconds, self.images = 0.0, 0
        self._began, self._before = time.perf_counter(), 0.0
        self.waiting, self._waited = Waiting(), 0.0

    def on_train_batch_end(self, *arguments: Any) -> None:
        """Count a step."""
        self.seconds += time.perf_counter() - self.waiting.asked
        trainer, _, _, (_, labels, _), _ = arguments
        self.images += len(labels) * trainer.world_size  # as many in each process, but for one

    def on_train_start(self, *_: Any) -> None:
        """Forget the first batch."""
        self.waiting.seconds = self._waited

    @property
    def in_all(self) -> float:
        """Seconds of the run, validation, saving and what it trained before it was stopped included."""
        return self._before + time.perf_counter() - self._began

    @property
    def images_per_second(self) -> float:
        """Training images a second so far."""
        return self.images / self.seconds if self.seconds else 0.0

    @property
    def waiting_share(self) -> float:
        """Share of the seconds in which the loop waited for data."""
        return min(1.0, self.waiting.seconds / self.seconds) if self.seconds else 0.0

    def state_dict(self) -> dict[str, Any]:
        """Kept in the checkpoint, so that a resumed run tells the whole time."""
        return {
            "seconds": self.seconds,
            "images": self.images,
            "waited": self.waiting.seconds,
            "in_all": self.in_all,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on counting."""
        self.seconds, self.images = state_dict["seconds"], state_dict["images"]
        self._before = state_dict["in_all"]
        self._waited = self.waiting.seconds = state_dict["waited"]  # a finished run has no start to come
