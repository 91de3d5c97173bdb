"""What a person sees while a run trains: a bar in a terminal, else a line a validation."""

from collections.abc import Mapping
from typing import Any

import lightning as L
from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, TaskID, TextColumn, TimeRemainingColumn

from crossbatch.cross_batch import CrossBatchLoss
from crossbatch.training.floor import Floor
from crossbatch.training.metric_learner import LOG_EVERY, MetricLearner
from crossbatch.training.throughput import Throughput


class ProgressBar(L.Callback):
    """Loss, validation R@1, images a second, how full the memory is, drift; lines where there is no terminal."""

    def __init__(
        self, console: Console, throughput: Throughput, title: str, drift: Mapping[str, float], floor: Floor
    ) -> None:
        self.console, self.throughput, self.title, self.drift, self.floor = console, throughput, title, drift, floor
        self._progress: Progress | None = None
        self._task = TaskID(0)

    def on_train_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:  # noqa: ARG002
        """Show the bar."""
        if not self.console.is_terminal or not trainer.is_global_zero:
            return
        columns: list[ProgressColumn] = [
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            TextColumn("{task.completed}/{task.total}  {task.fields[told]}"),
            TimeRemainingColumn(compact=True),
        ]
        self._progress = Progress(*columns, console=self.console)
        self._task = self._progress.add_task(
            self.title, total=trainer.max_steps, told="", completed=trainer.global_step
        )
        self._progress.start()

    def on_train_batch_end(self, trainer: L.Trainer, module: L.LightningModule, *_: Any) -> None:
        """Move the bar."""
        if self._progress is not None and trainer.global_step % LOG_EVERY == 0:
            self._progress.update(self._task, completed=trainer.global_step, told=self._tell(trainer, module))

    def on_validation_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """One line a validation where there is no bar."""
        if self._progress is None and trainer.is_global_zero and not trainer.sanity_checking:
            step = f"{self.title}  {trainer.global_step}/{trainer.max_steps}"
            self.console.print(f"{step}  {self._tell(trainer, module)}")

    def on_train_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Leave the bar where it stands."""
        self._stop(trainer, module)

    def on_exception(self, trainer: L.Trainer, module: L.LightningModule, exception: BaseException) -> None:  # noqa: ARG002
        """Give the terminal back."""
        self._stop(trainer, module)

    def _stop(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        if self._progress is not None:
            self._progress.update(self._task, completed=trainer.global_step, told=self._tell(trainer, module))
            self._progress.stop()
            self._progress = None

    def _tell(self, trainer: L.Trainer, module: L.LightningModule) -> str:
        assert isinstance(module, MetricLearner)  # noqa: S101
        told = []
        if "loss" in trainer.callback_metrics:
            told.append(f"loss {float(trainer.callback_metrics['loss']):.3f}")
        if module.validation is not None:
            before = self.floor.before
            start = "" if before is None or before.validation is None else f" ({before.validation:.3f} before training)"
            told.append(f"val R@1 {module.validation.recall[1]:.3f}{start}")
        told.append(f"{self.throughput.images_per_second:,.0f} images/s")
        if isinstance(module.loss_fn, CrossBatchLoss):
            memory = module.loss_fn.memory
            off = "" if module.loss_fn.memory_is_on else ", not counting yet"
            told.append(f"memory {len(memory) / memory.capacity:.0%} full{off}")
        if "drift/100" in self.drift:
            told.append(f"moved {self.drift['drift/100']:.3f} in 100 steps")
        return "  ".join(told)
