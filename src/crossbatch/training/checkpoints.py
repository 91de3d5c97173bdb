"""The checkpoints of a run: the best so far by validation, and the last to go on from."""

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
    """Lightning's, by R@1 on validation, and of equals by MAP@R: few classes are soon all found.

    Lightning's forgets the best score when the run folder has moved; this one finds its file again.
    """

    map_at_r = 0.0  # of the best

    def check_monitor_top_k(self, trainer: L.Trainer, current: Tensor | None = None) -> bool:
        """Whether a model is the best so far."""
        found = float(trainer.callback_metrics.get("val/MAP@R", 0.0))
        better = super().check_monitor_top_k(trainer, current)
        if not better and current is not None and self.best_model_score is not None:
            better = bool(current == self.best_model_score) and found > self.map_at_r
        if better:
            self.map_at_r = found
        return better

    def state_dict(self) -> dict[str, Any]:
        """With the MAP@R of the best."""
        return {**super().state_dict(), "map_at_r": self.map_at_r}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take the paths of the checkpoint to be where the run folder is now."""
        here = Path(str(self.dirpath))
        self.map_at_r = state_dict["map_at_r"]
        moved = {key: self._moved(value, here) for key, value in state_dict.items() if key != "map_at_r"}
        moved["best_k_models"] = {self._moved(path, here): score for path, score in state_dict["best_k_models"].items()}
        best = here / Path(moved["best_model_path"]).name
        if not moved["best_model_path"] or (best.is_file() and damage(best) is None):
            super().load_state_dict({**moved, "dirpath": self.dirpath})  # else the best is sought anew
            self.current_score = moved["current_score"]

    @staticmethod
    def _moved(value: Any, here: Path) -> Any:
        return str(here / Path(value).name) if isinstance(value, str) and value.endswith(".ckpt") else value


class SaveLast(Checkpoint):
    """Writes the checkpoint to go on from: after each validation, where there is none as often, and at the end.

    Where the run is asked to stop it is saved at once: after the step it is in, or, while it validates, as it was
    before the validation, which is then done again. Lightning would validate once more instead, out of turn.
    The state of the random numbers is in it, so that what drops out is what would have dropped out.
    """

    def __init__(self, path: Path, every: int, asked: Asked, finite: StopDiverged) -> None:
        self.path, self.every, self.asked, self.finite = path, every, asked, finite
        self.validation: dict[str, float] | None = None
        self._random: dict[str, Any] = {}
        self._to_restore: dict[str, Any] = {}
        self._ended = False
        self.saved_at = -1

    def on_train_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:  # noqa: ARG002
        """Go on with the random numbers, and end a run again that had stopped early."""
        if self._to_restore:
            torch.set_rng_state(self._to_restore["cpu"])
            if len(self._to_restore["cuda"]) == torch.cuda.device_count():
                torch.cuda.set_rng_state_all(self._to_restore["cuda"])
        trainer.should_stop = self._ended and bool(trainer.early_stopping_callbacks)
        self.asked.nothing_to_save = trainer.global_step == 0
        self.asked.listen()  # in place of Lightning, which would end the run with status 0

    def on_train_batch_end(self, trainer: L.Trainer, module: L.LightningModule, *_: Any) -> None:  # noqa: ARG002
        """Save where nothing is validated, or where a signal asks for it."""
        self.asked.nothing_to_save = False
        due = trainer.global_step % self.every == 0
        if trainer.enable_validation and due:
            self._random = _random_state()  # a validation that is done again draws as it did the first time
            return
        asked = self.asked.on_any(trainer)
        if asked or (due and not trainer.enable_validation):
            trainer._logger_connector.update_train_step_metrics()  # Lightning logs a step after this
            self._save(trainer)
        if asked and not _has_ended(trainer):
            raise Stopped

    def on_validation_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:  # noqa: ARG002
        """Nothing of this validation is done yet, whatever an interrupted one had counted."""
        trainer.fit_loop.epoch_loop.val_loop.batch_progress.total.reset()
        if not _has_ended(trainer) and self.asked.on_any(trainer):
            self._save_before_validation(trainer)

    def on_validation_batch_end(self, trainer: L.Trainer, *_: Any) -> None:
        """A validation may take long: it need not be waited for, but for the last, which ends the run."""
        if _has_ended(trainer) or trainer.world_size > 1:  # processes may have different numbers of batches
            return
        if self.asked.yes:
            self._save_before_validation(trainer)

    def on_validation_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Save with what the validation has changed."""
        assert isinstance(module, MetricLearner)  # noqa: S101
        self.validation = None if module.validation is None else module.validation.summary()
        self._save(trainer)
        if self.asked.on_any(trainer) and not _has_ended(trainer):
            raise Stopped

    def on_train_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:  # noqa: ARG002
        """Save the end."""
        if trainer.global_step != self.saved_at:
            self._save(trainer)

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run needs to end as one that was never stopped."""
        return {"random": self._random, "validation": self.validation, "ended": self._ended}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Know it again."""
        self._to_restore, self.validation = state_dict["random"], state_dict["validation"]
        self._ended = state_dict["ended"]

    def _save(self, trainer: L.Trainer, random: dict[str, Any] | None = None) -> None:
        self.finite.check()
        for logger in trainer.loggers:
            logger.save()  # before the checkpoint: a run that goes on from it logs what comes after
        self._random = random or _random_state()
        self._ended = trainer.should_stop
        trainer.save_checkpoint(self.path)
        self.saved_at = trainer.global_step

    def _save_before_validation(self, trainer: L.Trainer) -> None:
        """Save as Lightning does in the middle of a validation, none of whose batches has counted, and stop."""
        progress = trainer.fit_loop.epoch_loop.val_loop.batch_progress
        progress.reset()
        progress.increment_ready()
        progress.increment_started()
        progress.current.reset()
        self._save(trainer, self._random)
        raise Stopped


def _has_ended(trainer: L.Trainer) -> bool:
    """Whether there is nothing left to do, asked or not."""
    return trainer.global_step >= trainer.max_steps


def _random_state() -> dict[str, Any]:
    return {"cpu": torch.get_rng_state(), "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []}
