"""The memory starts to count once its rows are fresh, by what is measured."""

from collections.abc import Sequence
from typing import Any

import lightning as L
import numpy as np
import torch
from torch import Tensor

from crossbatch.cross_batch import CrossBatchLoss
from crossbatch.metrics.drift import Sample, class_spread
from crossbatch.training.follow_network import every
from crossbatch.training.metric_learner import MetricLearner
from crossbatch.training.run_parts import RunParts

WATCHED = 2  # which augmentation of the first batch: 0 is trained on, 1 the drift meters have


class MemoryStart(L.Callback):
    """Watches a batch of training images until the rows of the memory are fresh, and then lets the memory count.

    The images are embedded again whenever the memory follows the network, and carried along as its rows are. From how
    far they have moved by age follows how far the rows have moved on average, those of a memory that is as old as
    this one. They are fresh when that is at most `memory.stale` times what two images of a class differ by. What is
    decided is in a buffer of the loss; what is measured is in the checkpoint.
    """

    def __init__(self, parts: RunParts) -> None:
        self.parts, self.every = parts, every(parts)
        self.sample, self.reason = Sample(), ""
        self._watched: tuple[Tensor, Tensor] | None = None
        self._hook: torch.utils.hooks.RemovableHandle | None = None

    def on_train_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:  # noqa: ARG002
        """Carry what is watched along with the rows."""
        if (following := self.parts.learner.following) is not None:
            self._hook = following.register_forward_hook(lambda *_: self.sample.carry(following.carry))

    def on_train_batch_start(self, trainer: L.Trainer, module: L.LightningModule, *_: Any) -> None:
        """Look whether rows are fresh by now."""
        assert isinstance(module, MetricLearner)  # noqa: S101
        loss_fn, step = module.loss_fn, trainer.global_step
        assert isinstance(loss_fn, CrossBatchLoss)  # noqa: S101
        if self.reason or step % self.every:
            return
        images, labels = self._watch()
        rows = module.embed_together(images)
        moved, left = self.sample.add(step, rows)
        curve = [(one.first, one.distance) for one in (moved if module.following is None else left)]
        if not curve:
            return
        span = min(step, loss_fn.memory.size // len(self.parts.feed.batches))
        stale, spread = mean_movement(curve, span), class_spread(rows, labels.to(rows.device))
        if trainer.strategy.broadcast(stale <= (self.parts.settings.memory.stale or 0) * spread):  # one word for all
            loss_fn.start.copy_(loss_fn.step)
            self.reason = f"rows had moved {stale:.2f} on average, two images of a class differed by {spread:.2f}"

    def on_train_end(self, *_: Any) -> None:
        """Watch no more."""
        if self._hook is not None:
            self._hook.remove()

    def state_dict(self) -> dict[str, Any]:
        """What was measured, and what was found."""
        return {"embedded": self.sample.embedded, "carried": self.sample.carried, "reason": self.reason}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on watching, or know why not."""
        self.sample.embedded, self.sample.carried = state_dict["embedded"], state_dict["carried"]
        self.reason = state_dict["reason"]

    def _watch(self) -> tuple[Tensor, Tensor]:
        if self._watched is None:  # augmented, as the rows are: classes spread by that too
            images, labels, _ = self.parts.feed.training_batches(variant=WATCHED)[0]
            self._watched = images, labels
        return self._watched


def mean_movement(curve: Sequence[tuple[int, float]], span: int) -> float:
    """How far rows of all ages from 1 to `span` have moved on average, by a curve of (age, distance), ascending.

    Between its ages a straight line, from 0 at age 0; as at the last beyond it.
    """
    ages, distances = zip((0, 0.0), *curve, strict=True)
    return float(np.interp(np.arange(1, max(span, 1) + 1), ages, distances).mean())
