"""The floor under a run: what the network finds before training, on its own training classes, and how it spreads."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import lightning as L
import torch
from torch import Tensor

from crossbatch import runs
from crossbatch.data.batches import PartBatches
from crossbatch.data.data_set import Part
from crossbatch.metrics import effective_dimensions, evaluate
from crossbatch.models import checkpoint
from crossbatch.training.metric_learner import MetricLearner, put_together
from crossbatch.training.run_parts import RunParts

MOST = 2000  # training images that are searched; fewer where there are fewer validation images
PARTED = 0.5  # R@1 on training classes that needs no further question
LEARNT = 0.1  # share of the errors before training that are gone where training classes were learnt at all
SHRUNK = 1 / 3  # share of the dimensions used before training below which they have, where there are many classes
FLAT = 1 / 40  # share of the dimensions in use below which embeddings have collapsed


class Measured(NamedTuple):
    """R@1 on the validation classes and on a sample of the training classes; effective dimensions of the latter."""

    validation: float | None
    training: float
    dimensions: float

    @property
    def summary(self) -> dict[str, float | None]:
        """By the names they have in `summary.json`."""
        return {
            "validation R@1": self.validation,
            "training R@1": self.training,
            "effective dimensions": self.dimensions,
        }


class Floor(L.Callback):
    """Measures before the first step, and keeps the weights that training starts from."""

    def __init__(self, parts: RunParts, run: Path) -> None:
        self.parts, self.run = parts, run
        self.before: Measured | None = None

    def on_train_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Only of a run that begins."""
        assert isinstance(module, MetricLearner)  # noqa: S101
        if trainer.global_step == 0:
            if trainer.is_global_zero:
                (self.run / runs.CHECKPOINTS).mkdir(parents=True, exist_ok=True)
                checkpoint.save_weights(self.run / runs.START, module.embedder)
            self.before = measure(module, self.parts)

    def state_dict(self) -> dict[str, Any]:
        """What was measured."""
        return {} if self.before is None else self.before._asdict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Know it again."""
        self.before = Measured(**state_dict) if state_dict else None


def measure(module: MetricLearner, parts: RunParts) -> Measured:
    """Search validation and a sample of the training classes, each image among the others of its part."""
    validation = parts.data.validation
    sample = _whole_classes(parts.data.train, min(MOST, len(validation) or MOST))
    training, labels, ids = _embedded(module, parts.feed.part(sample))
    dimensions = effective_dimensions(training)
    found = evaluate(training, labels, ids, ks=(1,)).recall[1]
    if not len(validation) or parts.settings.refit:
        return Measured(None, found, dimensions)
    rows, labels, ids = _embedded(module, parts.feed.part(validation))
    return Measured(evaluate(rows, labels, ids, ks=(1,)).recall[1], found, dimensions)


def warnings(summary: Mapping[str, Any]) -> list[str]:
    """One sentence for each thing that is wrong with a run, by its summary; none where all is well."""
    before, after, dim = summary.get("before_training"), summary.get("after_training"), summary.get("dim", 0)
    if not before or not after:
        return []
    told = []
    if summary.get("memory_rows") and summary.get("memory_start") is None:
        told.append(
            "the memory never counted: its rows moved too far all along; lower --optim.lr, train for longer, or give "
            "--memory.start"
        )
    start, end = before["validation R@1"], after["validation R@1"]
    if start is not None and end < start:
        told.append(
            f"training made it worse: validation R@1 was {start:.3f} before training and is {end:.3f} after it; "
            "lower --optim.lr, weaken --augment, or check the labels"
        )
    start, end = before["training R@1"], after["training R@1"]
    if end < PARTED and end - start < LEARNT * (1 - start):
        told.append(
            f"the training classes themselves are not told apart: R@1 among their images is {end:.3f} "
            f"({start:.3f} before training); check the labels, --optim.lr and --augment"
        )
    start, used = before["effective dimensions"], after["effective dimensions"]
    shrunk = used < SHRUNK * start and used < summary.get("training_classes", 0) / 10  # few classes need few
    if shrunk or used < max(1.5, FLAT * dim):
        told.append(
            f"embeddings have collapsed: they use {used:.1f} of {dim} dimensions, {start:.1f} before training; "
            "lower --optim.lr or check the labels"
        )
    return told


def _whole_classes(part: Part, images: int) -> Part:
    """Classes drawn at random, each with all its images, until there are so many images."""
    classes, counts = part.labels.unique(return_counts=True)
    order = torch.randperm(len(classes), generator=torch.Generator().manual_seed(0))
    several = order[counts[order] > 1]
    enough = int((counts[several].cumsum(0) < images).sum()) + 1
    return part.select(torch.isin(part.labels, classes[several[:enough]]))


@torch.no_grad()
def _embedded(module: MetricLearner, batches: PartBatches) -> tuple[Tensor, Tensor, Tensor]:
    """Embedded in evaluation mode, on the device of the run; the module goes on in the mode that it was in."""
    training, device = module.training, next(module.embedder.parameters()).device
    module.eval()
    rows = []
    for number in range(len(batches))[module.processes.part(len(batches))]:
        images, labels, ids = batches[number]
        if len(labels):
            rows.append((module.embedder(images.to(device)).float().cpu(), labels, ids))
    module.train(training)
    return put_together(rows, module.processes, module.dim, torch.device("cpu"))
