"""The two checkpoints of a run: the best so far by validation, and the last to go on from."""

from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import Checkpoint, ModelCheckpoint


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
