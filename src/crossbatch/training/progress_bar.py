"""The display of a run in training: a bar in a terminal, else a line per validation."""

from collections.abc import Mapping, Sequence
from typing import Any

import lightning as L
from rich.cells import cell_len
from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, TaskID, TextColumn, TimeRemainingColumn
from torch import Tensor

from crossbatch.cross_batch import CrossBatchLoss
from crossbatch.training.floor import Floor
from crossbatch.training.metric_learner import LOG_EVERY, MetricLearner
from crossbatch.training.throughput import Throughput

SHOWN = 20  # least number of times that the bar of a short run moves
TIME = len("1:23:45")  # width of the remaining time
BEGINNING = 5  # first letters that are kept of a name too long, enough to tell `with-memory…` from `without-memory…`


class ProgressBar(L.Callback):
    """Shows loss, validation R@1, images per second, fill of the memory and drift; prints lines without a terminal."""

    def __init__(
        self, console: Console, throughput: Throughput, title: str, drift: Mapping[str, float], floor: Floor
    ) -> None:
        self.console, self.throughput, self.title, self.drift, self.floor = console, throughput, title, drift, floor
        self._progress: Progress | None = None
        self._task, self._taken = TaskID(0), 0
        self._loss: Tensor | None = None

    def on_train_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:  # noqa: ARG002
        """Print R@1 before training, and show the bar."""
        if not trainer.is_global_zero:
            return
        before = self.floor.before
        if before is not None and before.validation is not None:
            self.console.print(f"before training: R@1 {before.validation:.3f} on the validation classes")
        if not self.console.is_terminal:
            return
        width = self.console.width
        name, bar = shortened(self.title, width // 3), max(5, min(20, width // 8))
        columns: list[ProgressColumn] = [
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=bar),
            TextColumn("{task.completed}/{task.total}"),
            TimeRemainingColumn(compact=True),
            TextColumn("{task.fields[told]}"),
        ]
        self._taken = cell_len(name) + bar + 2 * len(str(trainer.max_steps)) + 1 + TIME + len(columns) - 1
        self._progress = Progress(*columns, console=self.console)
        self._task = self._progress.add_task(name, total=trainer.max_steps, told="", completed=trainer.global_step)
        self._progress.start()

    def on_train_batch_end(self, trainer: L.Trainer, module: L.LightningModule, outputs: Any, *_: Any) -> None:
        """Move the bar."""
        self._loss = outputs["loss"]
        if trainer.global_step % max(1, min(LOG_EVERY, trainer.max_steps // SHOWN)) == 0:
            self._move(trainer, module)

    def on_validation_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Print one line per validation where there is no bar."""
        if self._progress is None and trainer.is_global_zero and not trainer.sanity_checking:
            step = f"{self.title}  {trainer.global_step}/{trainer.max_steps}"
            self.console.print("  ".join([step, *self._tell(trainer, module)]))

    def on_train_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Stop the bar, and leave it visible."""
        self._stop(trainer, module)

    def on_exception(self, trainer: L.Trainer, module: L.LightningModule, exception: BaseException) -> None:  # noqa: ARG002
        """Stop the bar, so that the terminal is free for the error."""
        self._stop(trainer, module)

    def _stop(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        self._move(trainer, module)
        if self._progress is not None:
            self._progress.stop()
            self._progress = None

    def _move(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        if self._progress is not None:
            told = fitting(self._tell(trainer, module), self.console.width - self._taken)
            self._progress.update(self._task, completed=trainer.global_step, told=told)

    def _tell(self, trainer: L.Trainer, module: L.LightningModule) -> list[str]:
        """The values to show, the most important first."""
        assert isinstance(module, MetricLearner)  # noqa: S101
        told = []
        loss = self._loss if trainer.world_size == 1 else trainer.callback_metrics.get("loss")  # of all processes
        if loss is not None:
            told.append(f"loss {float(loss):.3f}")
        if module.validation is not None:
            told.append(f"val R@1 {module.validation.recall[1]:.3f}")
        told.append(f"{self.throughput.images_per_second:,.0f} images/s")
        if isinstance(module.loss_fn, CrossBatchLoss):
            memory = module.loss_fn.memory
            off = "" if module.loss_fn.memory_is_on else ", not counting yet"
            told.append(f"memory {len(memory) / memory.capacity:.0%} full{off}")
        if "drift/100" in self.drift:
            told.append(f"moved {self.drift['drift/100']:.3f} in 100 steps")
        return told


def fitting(told: Sequence[str], room: int) -> str:
    """Join the first texts, as many as fit into `room` characters."""
    while told and cell_len("  ".join(told)) > room:
        told = told[:-1]
    return "  ".join(told)


def shortened(name: str, width: int) -> str:
    """Cut the middle out of a long name: names of runs differ at the end, those of arms at the beginning."""
    return name if len(name) <= width else f"{name[:BEGINNING]}…{name[BEGINNING + 1 - width :]}"
