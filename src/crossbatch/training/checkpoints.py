"""The checkpoints of a run: the best so far on validation, and the last, from which a run resumes."""

from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Checkpoint, ModelCheckpoint
from torch import Tensor

from crossbatch.training.checkpoint_files import damage
from crossbatch.training.diverged import StopDiverged
from crossbatch.training.interrupt import Asked, Stopped
from crossbatch.training.metric_learner import MetricLearner


class BestModel(ModelCheckpoint):
    """Saves the model with the best R@1 on validation; MAP@R decides between equals, since few classes soon reach 1.

    Lightning's own class forgets the best score when the run folder has moved; this one finds its file again.
    """

    map_at_r = 0.0  # of the best model

    def check_monitor_top_k(self, trainer: L.Trainer, current: Tensor | None = None) -> bool:
        """Whether the present model is the best so far."""
        map_at_r = float(trainer.callback_metrics.get("val/MAP@R", 0.0))
        better = super().check_monitor_top_k(trainer, current)
        if not better and current is not None and self.best_model_score is not None:
            better = bool(current == self.best_model_score) and map_at_r > self.map_at_r
        if better:
            self.map_at_r = map_at_r
        return better

    def state_dict(self) -> dict[str, Any]:
        """Lightning's state, and the MAP@R of the best model."""
        return {**super().state_dict(), "map_at_r": self.map_at_r}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the state, with all paths moved to where the run folder is."""
        here = Path(str(self.dirpath))
        self.map_at_r = state_dict["map_at_r"]
        moved = {key: self._moved(value, here) for key, value in state_dict.items() if key != "map_at_r"}
        moved["best_k_models"] = {self._moved(path, here): score for path, score in state_dict["best_k_models"].items()}
        best = here / Path(moved["best_model_path"]).name
        if not moved["best_model_path"] or (best.is_file() and damage(best) is None):
            super().load_state_dict({**moved, "dirpath": self.dirpath})  # else the best model is sought anew
            self.current_score = moved["current_score"]

    @staticmethod
    def _moved(value: Any, here: Path) -> Any:
        return str(here / Path(value).name) if isinstance(value, str) and value.endswith(".ckpt") else value


class SaveLast(Checkpoint):
    """Writes the checkpoint from which a run resumes: every `every` steps, after any validation, and at the end.

    A run that is asked to stop is saved at once. If it trains, the step is finished first. If it validates, the state
    before the validation is saved, and the resumed run repeats the validation; Lightning alone would add one out of
    turn. The checkpoint holds the state of the random numbers, so that a resumed run has the same dropout.
    """

    def __init__(self, path: Path, every: int, asked: Asked, finite: StopDiverged) -> None:
        self.path, self.every, self.asked, self.finite = path, every, asked, finite
        self.validation: dict[str, float] | None = None
        self._random: dict[str, Any] = {}
        self._to_restore: dict[str, Any] = {}
        self._ended = False
        self.saved_at = -1

    def on_train_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:  # noqa: ARG002
        """Restore the random numbers; end the run again if it had stopped early."""
        if self._to_restore:
            torch.set_rng_state(self._to_restore["cpu"])
            if len(self._to_restore["cuda"]) == torch.cuda.device_count():
                torch.cuda.set_rng_state_all(self._to_restore["cuda"])
        trainer.should_stop = self._ended and bool(trainer.early_stopping_callbacks)
        self.asked.nothing_to_save = trainer.global_step == 0
        self.asked.listen()  # in place of Lightning's handlers, which would end the run with status 0

    def on_train_batch_end(self, trainer: L.Trainer, module: L.LightningModule, *_: Any) -> None:  # noqa: ARG002
        """Save if a signal asks for it, or if a checkpoint is due and nothing is validated."""
        self.asked.nothing_to_save = False
        due = trainer.global_step % self.every == 0
        if trainer.enable_validation and due:
            self._random = _random_state()  # a repeated validation draws the same random numbers
            return
        asked = self.asked.on_any()
        if asked or (due and not trainer.enable_validation):
            trainer._logger_connector.update_train_step_metrics()  # Lightning logs a step after this
            self._save(trainer)
        if asked and not _has_ended(trainer):
            raise Stopped

    def on_validation_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:  # noqa: ARG002
        """Reset the count of batches that an interrupted validation may have left; save if a signal asks for it."""
        trainer.fit_loop.epoch_loop.val_loop.batch_progress.total.reset()
        if not _has_ended(trainer) and self.asked.on_any():
            self._save_before_validation(trainer)

    def on_validation_batch_end(self, trainer: L.Trainer, *_: Any) -> None:
        """Save and stop within a long validation, except the last one, which ends the run."""
        if _has_ended(trainer) or trainer.world_size > 1:  # processes may have different numbers of batches
            return
        if self.asked.yes:
            self._save_before_validation(trainer)

    def on_validation_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Save with the metrics of this validation."""
        assert isinstance(module, MetricLearner)  # noqa: S101
        self.validation = None if module.validation is None else module.validation.summary()
        self._save(trainer)
        if self.asked.on_any() and not _has_ended(trainer):
            raise Stopped

    def on_train_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:  # noqa: ARG002
        """Save the last step."""
        if trainer.global_step != self.saved_at:
            self._save(trainer)

    def state_dict(self) -> dict[str, Any]:
        """The state with which a resumed run ends as if it had never been stopped."""
        return {"random": self._random, "validation": self.validation, "ended": self._ended}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the state; the random numbers are set when training starts."""
        self._to_restore, self.validation = state_dict["random"], state_dict["validation"]
        self._ended = state_dict["ended"]

    def _save(self, trainer: L.Trainer, random: dict[str, Any] | None = None) -> None:
        self.finite.check()
        for logger in trainer.loggers:
            logger.save()  # before the checkpoint: a run that resumes from it logs only later steps
        self._random = random or _random_state()
        self._ended = trainer.should_stop
        trainer.save_checkpoint(self.path)
        self.saved_at = trainer.global_step

    def _save_before_validation(self, trainer: L.Trainer) -> None:
        """Save the progress that Lightning saves in a validation of which no batch has counted, and stop."""
        progress = trainer.fit_loop.epoch_loop.val_loop.batch_progress
        progress.reset()
        progress.increment_ready()
        progress.increment_started()
        progress.current.reset()
        self._save(trainer, self._random)
        raise Stopped


def _has_ended(trainer: L.Trainer) -> bool:
    """Whether the last step is done."""
    return trainer.global_step >= trainer.max_steps


def _random_state() -> dict[str, Any]:
    return {"cpu": torch.get_rng_state(), "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []}
