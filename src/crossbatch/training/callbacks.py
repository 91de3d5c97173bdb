"""What happens around the steps: fill the memory, tell a person how it goes, save."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import Checkpoint, ModelCheckpoint
from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, TaskID, TextColumn, TimeRemainingColumn
from torch import Tensor

from crossbatch.cross_batch import CrossBatchLoss
from crossbatch.data.images import Batch
from crossbatch.training.clock import Clock
from crossbatch.training.metric_learner import LOG_EVERY, MetricLearner


class FillMemory(L.Callback):
    """When the warm-up ends, fill what it has left empty of the memory, with randomly drawn training images.

    Source: Wang et al., CVPR 2020, section 3.3, where the memory is empty until then. Images are drawn without
    replacement from those that the memory does not hold.
    """

    def __init__(self, drawn: Callable[[int, Tensor], Iterable[Batch]]) -> None:
        self.drawn = drawn

    def on_train_batch_start(self, trainer: L.Trainer, module: L.LightningModule, *_: Any) -> None:
        """Just before the first step in which the memory counts."""
        assert isinstance(module, MetricLearner)  # noqa: S101
        loss_fn = module.loss_fn
        if not isinstance(loss_fn, CrossBatchLoss) or loss_fn.step != loss_fn.start:
            return
        memory = loss_fn.memory
        drawn = self.drawn(memory.size - len(memory), memory.ids)
        moved = (trainer.strategy.batch_to_device(batch) for batch in drawn)
        readable = (batch for batch in moved if len(batch[1]))
        memory.fill(module.embed_as_rows, readable, step=trainer.global_step)


class ProgressBar(L.Callback):
    """Loss, validation R@1, images a second, how full the memory is, drift; lines where there is no terminal."""

    def __init__(self, console: Console, clock: Clock, title: str, drift: Mapping[str, float]) -> None:
        self.console, self.clock, self.title, self.drift = console, clock, title, drift
        self._progress: Progress | None = None
        self._task = TaskID(0)

    def on_train_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:  # noqa: ARG002
        """Show the bar."""
        if not self.console.is_terminal:
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
        if self._progress is None and not trainer.sanity_checking:
            step = f"{self.title}  {trainer.global_step}/{trainer.max_steps}"
            self.console.print(f"{step}  {self._tell(trainer, module)}", soft_wrap=True, highlight=False)

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
            told.append(f"val R@1 {module.validation.recall[1]:.3f}")
        told.append(f"{self.clock.images_per_second:,.0f} images/s")
        if isinstance(module.loss_fn, CrossBatchLoss):
            memory = module.loss_fn.memory
            off = "" if module.loss_fn.memory_is_on else " (waiting)"
            told.append(f"memory {len(memory) / memory.size:.0%}{off}")
        if "drift/100" in self.drift:
            told.append(f"moved {self.drift['drift/100']:.3f} in 100 steps")
        return "  ".join(told)


class BestModel(ModelCheckpoint):
    """Lightning's, which forgets the best score when the run folder has moved; this one finds its file again."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take the paths of the checkpoint to be where the run folder is now."""
        here = Path(str(self.dirpath))
        moved = {key: self._moved(value, here) for key, value in state_dict.items()}
        moved["best_k_models"] = {self._moved(path, here): score for path, score in state_dict["best_k_models"].items()}
        super().load_state_dict({**moved, "dirpath": self.dirpath})

    @staticmethod
    def _moved(value: Any, here: Path) -> Any:
        return str(here / Path(value).name) if isinstance(value, str) and value.endswith(".ckpt") else value


class SaveLast(Checkpoint):
    """Writes the checkpoint to go on from: after each validation, where there is none as often, and at the end."""

    def __init__(self, path: Path, every: int) -> None:
        self.path, self.every = path, every

    def on_validation_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:  # noqa: ARG002
        """Save with what the validation has changed."""
        trainer.save_checkpoint(self.path)

    def on_train_batch_end(self, trainer: L.Trainer, *_: Any) -> None:
        """Save where nothing is validated."""
        if not trainer.enable_validation and trainer.global_step % self.every == 0:
            trainer.save_checkpoint(self.path)

    def on_train_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:  # noqa: ARG002
        """Save the end, also when a person asked for it."""
        trainer.save_checkpoint(self.path)
