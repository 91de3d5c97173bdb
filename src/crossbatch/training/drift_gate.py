"""Let the memory count when drift allows, and its rows for as long as it does."""

import math
from typing import Any

import lightning as L

from crossbatch.cross_batch import FOREVER, CrossBatchLoss
from crossbatch.metrics.drift import age_at
from crossbatch.training.drift_meters import DriftMeters
from crossbatch.training.metric_learner import MetricLearner
from crossbatch.training.settings import OPEN_AGE, MemorySettings


class DriftGate(L.Callback):
    """Opens the memory once rows of `OPEN_AGE` steps are fresh enough, and then keeps older ones from counting.

    Fresh enough is a row whose image has since moved less than `max_drift`, by the sample of the meters. Once open,
    the memory stays so: then fewer rows count. What is decided is in buffers of the loss, so a checkpoint has it.
    """

    def __init__(self, meters: DriftMeters, memory: MemorySettings) -> None:
        self.meters, self.memory = meters, memory

    def on_train_batch_start(self, trainer: L.Trainer, module: L.LightningModule, *_: Any) -> None:
        """Decide anew where the meters have just measured."""
        assert isinstance(module, MetricLearner)  # noqa: S101
        loss_fn, step = module.loss_fn, trainer.global_step
        if not isinstance(loss_fn, CrossBatchLoss) or step != self.meters.measured or not self.meters.curve:
            return
        fresh = age_at(self.meters.curve, self.memory.max_drift)
        oldest = self.meters.curve[-1][0]
        if not loss_fn.memory_is_on and min(fresh, oldest) >= OPEN_AGE and step >= (self.memory.start or 0):
            loss_fn.start.copy_(loss_fn.step)
        if self.memory.limit_age:
            loss_fn.max_age.fill_(FOREVER if math.isinf(fresh) else int(fresh))
