"""Filling the memory when its warm-up ends, so that it starts full."""

from collections.abc import Callable, Iterable
from typing import Any

import lightning as L
from torch import Tensor

from crossbatch.cross_batch import CrossBatchLoss
from crossbatch.data.batches import Batch
from crossbatch.training.metric_learner import MetricLearner


class FillMemory(L.Callback):
    """Fills the empty rows of the memory with randomly drawn training images when the warm-up ends.

    `drawn`: called with a number of images and the ids that the memory holds; draws other images without replacement.
    Source: Wang et al., CVPR 2020, section 3.3, where the memory is empty until then.
    """

    def __init__(self, drawn: Callable[[int, Tensor], Iterable[Batch]]) -> None:
        self.drawn, self.started = drawn, False

    def on_train_batch_start(self, trainer: L.Trainer, module: L.LightningModule, *_: Any) -> None:
        """Fill the memory just before the first step in which it counts."""
        assert isinstance(module, MetricLearner)  # noqa: S101
        loss_fn = module.loss_fn
        if self.started or not isinstance(loss_fn, CrossBatchLoss) or loss_fn.step < loss_fn.start:
            return
        self.started = True  # from here on no step asks the device whether the memory counts
        if loss_fn.step > loss_fn.start:  # a resumed run whose memory was filled before
            return
        memory = loss_fn.memory
        held = memory.ids if memory.shard.parts == 1 else memory.processes.gather_rows(memory.ids)
        drawn = self.drawn(memory.size - len(held), held)
        moved = (trainer.strategy.batch_to_device(batch) for batch in drawn)
        readable = (batch for batch in moved if len(batch[1]))
        memory.fill(module.embed_together, readable, step=trainer.global_step)
