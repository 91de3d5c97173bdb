"""Measure drift while training: the paper's meter on a sample, and a free meter on images that return."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import lightning as L
import torch
from torch import Tensor, nn

from crossbatch import runs
from crossbatch.cross_batch import CrossBatchLoss
from crossbatch.data.batches import Batch
from crossbatch.metrics.drift import AtAge, ByAge, Sample, class_spread, returning, squared_distance
from crossbatch.training.metric_learner import MetricLearner
from crossbatch.training.run_parts import RunParts

EVERY = 100  # steps between two measurements
SHORT = 10  # an extra measurement comes this many steps before each, for the paper's shortest interval
RETURNS_EVERY = 5  # steps between two measurements on returning images: each searches the memory for the ids of a batch
LOGGED = (10, 100, 1000)  # the paper's intervals


class DriftMeters(L.Callback):
    """Writes `drift.csv` of the run, a row per step, meter and age; logs the paper's intervals and the free meter.

    Meters: `sample` and `returning` are those of `metrics.drift`. `carried` is the drift that is left of the sample
    when it is carried along as the rows of the memory are. `augmentation` is the distance between two augmentations of
    an image at one step, each embedded among other images. `class spread` is the distance between two images of a
    class.

    Images are embedded as the rows of the memory are, with the statistics of the batch. The checkpoint holds all
    measurements.
    """

    def __init__(self, run: Path, parts: RunParts) -> None:
        self.run, self.parts = run, parts
        self.sample, self.returned = Sample(), ByAge()
        self.rows: list[dict[str, Any]] = []
        self.latest: dict[str, float] = {}  # values by their names in the log
        self._batches, self._again = parts.feed.training_batches(), parts.feed.training_batches(variant=1)
        self._drawn: list[Batch] = []
        self._hooks: list[torch.utils.hooks.RemovableHandle] = []

    def on_train_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Hook into the loss, to measure each batch, and into `following`, to carry the sample along."""
        assert isinstance(module, MetricLearner)  # noqa: S101

        def before(loss_fn: nn.Module, given: tuple[Tensor, Tensor], named: dict[str, Tensor]) -> None:
            if loss_fn.training:
                self._look(trainer, module, given[0].detach(), given[1], named["ids"])

        if trainer.is_global_zero:  # the process that writes measures its own share of a batch
            self._hooks = [module.loss_fn.register_forward_pre_hook(before, with_kwargs=True)]
        if (following := module.following) is not None:
            move = following.carry
            self._hooks.append(following.register_forward_hook(lambda *_: self.sample.carry(move)))

    def on_train_batch_start(self, trainer: L.Trainer, module: L.LightningModule, *_: Any) -> None:
        """Embed the sample before the step, if a measurement is due."""
        assert isinstance(module, MetricLearner)  # noqa: S101
        step = trainer.global_step
        if step == 0 or (step % EVERY and (step + SHORT) % EVERY):
            return
        drawn = self.parts.drawn(self.parts.settings.drift.sample)
        self._drawn = self._drawn or [drawn[number] for number in range(len(drawn))]
        embedded = torch.cat([module.embed_together(images) for images, labels, _ in self._drawn if len(labels)])
        moved, left = self.sample.add(step, embedded)
        if step % EVERY == 0:
            self.latest.clear()
            for meter, by_age in (("sample", moved), ("carried", left)):
                self._keep(step, meter, [row for row in by_age if row.first <= SHORT or row.first % EVERY == 0])
                name = "drift" if meter == "sample" else "drift/carried"
                self.latest.update({f"{name}/{row.first}": row.distance for row in by_age if row.first in LOGGED})

    def on_train_end(self, *_: Any) -> None:
        """Remove the hooks."""
        for hook in self._hooks:
            hook.remove()

    def state_dict(self) -> dict[str, Any]:
        """The measurements, and the embeddings that the next measurement compares with."""
        gathered = {"total": self.returned.total, "pairs": self.returned.pairs, "ages": self.returned.ages}
        return {"rows": self.rows, "embedded": self.sample.embedded, "carried": self.sample.carried, **gathered}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the measurements and embeddings."""
        self.rows, self.sample.embedded = state_dict["rows"], state_dict["embedded"]
        self.sample.carried = state_dict["carried"]
        self.returned.total, self.returned.pairs = state_dict["total"], state_dict["pairs"]
        self.returned.ages = state_dict["ages"]

    def _look(self, trainer: L.Trainer, module: MetricLearner, embeddings: Tensor, labels: Tensor, ids: Tensor) -> None:
        """Measure on a batch before the loss compares it."""
        step, loss_fn = trainer.global_step, module.loss_fn
        if isinstance(loss_fn, CrossBatchLoss) and step % RETURNS_EVERY == 0:
            self.returned.add(*returning(loss_fn.memory, embeddings, ids, int(loss_fn.step)))
        if step == 0 or step % EVERY:
            return
        few = max(1, self.parts.feed.batches.classes // 4) * self.parts.settings.batch.images
        few = min(few, len(embeddings))  # the first of several processes has the first part of a batch
        augmented, returned = self._augmentation(module, step, embeddings, few), self.returned.take()
        spread, class_pairs = class_spread(embeddings, labels), int((labels[:, None] == labels).sum()) - len(labels)
        self._keep(step, "augmentation", [AtAge(0, 0, 0, few, augmented)])
        self._keep(step, "class spread", [AtAge(0, 0, 0, class_pairs, spread)])
        self._keep(step, "returning", returned)
        self.latest["drift/augmentation"] = augmented
        if returned:
            pairs = sum(row.pairs for row in returned)
            self.latest["drift/returning"] = sum(row.distance * row.pairs for row in returned) / pairs
        for logger in trainer.loggers:
            logger.log_metrics(self.latest, step=step)
        runs.write_table(self.run / runs.DRIFT, self.rows)

    def _augmentation(self, module: MetricLearner, step: int, embeddings: Tensor, few: int) -> float:
        """Mean distance of the first `few` images to another augmentation of them, embedded among the batch before."""
        images = torch.cat([self._again[step][0][:few], self._batches[step - 1][0][few : len(embeddings)]])
        return float(squared_distance(embeddings[:few], module.embed_as_rows(images)[:few]).mean())

    def _keep(self, step: int, meter: str, found: Iterable[AtAge]) -> None:
        self.rows += [{"step": step, "meter": meter, **row._asdict()} for row in found]
