"""The start of the memory: it counts once its rows are measured to be fresh."""

from collections.abc import Sequence
from typing import Any

import lightning as L
import numpy as np
import torch
from torch import Tensor

from crossbatch.cross_batch import FOREVER, CrossBatchLoss
from crossbatch.metrics.drift import Sample, class_spread
from crossbatch.training.follow_network import every
from crossbatch.training.metric_learner import MetricLearner
from crossbatch.training.run_parts import RunParts

WATCHED = 2  # variant of the first batch's augmentation: 0 is trained on, the drift meters use 1


class MemoryStart(L.Callback):
    """Watches a batch of training images until the rows of the memory are fresh, and then lets the memory count.

    The images are embedded every `every` steps, as often as a memory follows the network, and are carried along as
    its rows are. The callback measures how far they have moved since they were embedded, by age. The average of that
    curve over the memory's ages says how stale its rows are. The rows are fresh when this average is at most
    `memory.stale` times the distance between two images of a class. The start is kept in a buffer of the loss, the
    measurements in the checkpoint.
    """

    def __init__(self, parts: RunParts) -> None:
        self.parts, self.every = parts, every(parts)
        self.sample, self.reason = Sample(), ""
        self._watched: tuple[Tensor, Tensor] | None = None
        self._hook: torch.utils.hooks.RemovableHandle | None = None

    def on_train_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:  # noqa: ARG002
        """Carry the watched embeddings along with the rows; until they are fresh the memory does not count."""
        loss_fn = self.parts.learner.loss_fn
        assert isinstance(loss_fn, CrossBatchLoss)  # noqa: S101
        if not self.reason:  # a checkpoint of a run whose start was given brings that start
            loss_fn.start.fill_(FOREVER)
        if (following := self.parts.learner.following) is not None:
            self._hook = following.register_forward_hook(lambda *_: self.sample.carry(following.carry))

    def on_train_batch_start(self, trainer: L.Trainer, module: L.LightningModule, *_: Any) -> None:
        """Check whether the rows are fresh, every `every` steps."""
        assert isinstance(module, MetricLearner)  # noqa: S101
        loss_fn, step = module.loss_fn, trainer.global_step
        assert isinstance(loss_fn, CrossBatchLoss)  # noqa: S101
        if self.reason or step % self.every:
            return
        images, labels = self._watch()
        rows = module.embed_together(images)
        moved, left = self.sample.add(step, rows)
        curve = [(row.first, row.distance) for row in (moved if module.following is None else left)]
        if not curve:
            return
        span = min(step, loss_fn.memory.size // self.parts.feed.batches.size)
        stale, spread = mean_movement(curve, span), class_spread(rows, labels.to(rows.device))
        # The first process decides, so that all processes start at the same step.
        if trainer.strategy.broadcast(stale <= (self.parts.settings.memory.stale or 0) * spread):
            loss_fn.start.copy_(loss_fn.step)
            self.reason = f"rows had moved {stale:.2f} on average, two images of a class differed by {spread:.2f}"

    def on_train_end(self, *_: Any) -> None:
        """Stop carrying the sample along."""
        if self._hook is not None:
            self._hook.remove()

    def state_dict(self) -> dict[str, Any]:
        """The measurements and, once the memory has started, the reason for its start."""
        return {"embedded": self.sample.embedded, "carried": self.sample.carried, "reason": self.reason}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the measurements and, once the memory has started, the reason for its start."""
        self.sample.embedded, self.sample.carried = state_dict["embedded"], state_dict["carried"]
        self.reason = state_dict["reason"]

    def _watch(self) -> tuple[Tensor, Tensor]:
        if self._watched is None:  # augmented as the rows are, since augmentation also spreads a class
            images, labels, _ = self.parts.feed.training_batches(variant=WATCHED)[0]
            self._watched = images, labels
        return self._watched


def mean_movement(curve: Sequence[tuple[int, float]], span: int) -> float:
    """Mean distance that rows of ages 1 to `span` have moved, by a curve of (age, distance) in ascending order.

    The curve starts at 0 at age 0 and is linear between its ages; beyond the last age it is constant.
    """
    ages, distances = zip((0, 0.0), *curve, strict=True)
    return float(np.interp(np.arange(1, max(span, 1) + 1), ages, distances).mean())
