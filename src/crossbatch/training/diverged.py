"""A loss that is not finite stops a run; the error names the step and its files."""

import math
from pathlib import Path
from typing import Any

import lightning as L
from torch import Tensor

from crossbatch import runs
from crossbatch.data.data_set import DataSet
from crossbatch.data.pk_batches import PKBatches
from crossbatch.errors import DivergedError
from crossbatch.launched import trains
from crossbatch.typed import typed

NAMED = 3  # files that the error names; diverged.json names all


class StopDiverged(L.Callback):
    """Checks the loss of each step when the next step begins, and before anything is saved.

    One step later the GPU has computed the loss, so that the check does not wait for it. No checkpoint is written of
    weights that a step with such a loss has changed.
    """

    def __init__(self, run: Path, data: DataSet, batches: PKBatches) -> None:
        self.run, self.data, self.batches = run, data, batches
        self._unseen: tuple[int, Tensor, Tensor] | None = None

    def on_train_batch_end(self, trainer: L.Trainer, *step: Any) -> None:
        """Keep the loss for the next check."""
        _, outputs, (_, _, ids), _ = step
        self._unseen = trainer.global_step, outputs["loss"], ids

    def on_train_batch_start(self, *_: Any) -> None:
        """Check the step before."""
        self.check()

    def on_validation_start(self, *_: Any) -> None:
        """Check the step before."""
        self.check()

    def check(self) -> None:
        """Stop the run if the last loss was not finite."""
        if self._unseen is None:
            return
        (step, loss, ids), self._unseen = self._unseen, None
        value = float(loss)
        if math.isfinite(value):
            return
        if trains():  # the batch of all processes, before images that cannot be read were replaced
            ids = self.data.train.ids[self.batches[step - 1]]
        files = [self.data.images.name(image) for image in ids.tolist()]
        more = f" and {len(files) - NAMED} more" if len(files) > NAMED else ""
        sentence = (
            f"training diverged: the loss of step {step} is {value}, of {', '.join(files[:NAMED])}{more} "
            f"(all in {self.run / runs.DIVERGED})"
        )
        runs.write_json(self.run / runs.DIVERGED, {"told": sentence, "step": step, "loss": str(value), "files": files})
        raise DivergedError(f"{sentence}: lower --optim.lr, or look at these files; {self._kept()}")

    def _kept(self) -> str:
        saved = (self.run / runs.CHECKPOINTS / f"{runs.LAST}.ckpt").is_file()
        state = "the last checkpoint is from before it" if saved else "nothing had been saved before it"
        return f"{state}: crossbatch train --resume {typed(self.run)} --force --optim.lr …"
