"""Reference values of a run (R@1 before training, R@1 on training classes, effective dimensions), and warnings."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import lightning as L
import torch

from crossbatch.data.batches import PartBatches
from crossbatch.data.data_set import Part
from crossbatch.encoder import Embedded, embedded
from crossbatch.metrics import effective_dimensions, evaluate
from crossbatch.training.metric_learner import MetricLearner, put_together
from crossbatch.training.run_parts import RunParts

MOST = 2000  # training images that are searched at most; no more than validation images where there are some
PARTED = 0.5  # R@1 on training classes from which no warning is needed
LEARNT = 0.1  # least share of the errors before training that training must remove on its own classes
SHRUNK = 1 / 3  # with many classes: embeddings have collapsed below this share of the dimensions used before
FLAT = 1 / 40  # embeddings have collapsed if they use less than this share of their dimensions …
FEW = 1 / 4  # … and less than this many dimensions per measured class: a separate class needs about one


class Measured(NamedTuple):
    """R@1 on the validation classes and on a sample of the training classes; effective dimensions of the latter."""

    validation: float | None
    training: float
    dimensions: float
    cut: dict[str, float] = {}  # noqa: RUF012  R@1 on validation of embeddings cut off at a length, by length
    classes: int = 0  # training classes in the sample

    @property
    def summary(self) -> dict[str, Any]:
        """The values by their names in `summary.json`."""
        return {
            "validation R@1": self.validation,
            "training R@1": self.training,
            "effective dimensions": self.dimensions,
            "training classes measured": self.classes,
            **({"validation R@1 by dims": self.cut} if self.cut else {}),
        }


class Floor(L.Callback):
    """Measures the network before the first step."""

    def __init__(self, parts: RunParts) -> None:
        self.parts = parts
        self.before: Measured | None = None

    def on_train_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Measure, unless a step is already done."""
        assert isinstance(module, MetricLearner)  # noqa: S101
        if trainer.global_step == 0:
            self.before = measure(module, self.parts)

    def state_dict(self) -> dict[str, Any]:
        """The values before training."""
        return {} if self.before is None else self.before._asdict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore them."""
        self.before = Measured(**state_dict) if state_dict else None


def measure(module: MetricLearner, parts: RunParts) -> Measured:
    """Search validation and a sample of the training classes, each image among the others of its part."""
    validation = parts.data.validation
    sample = _whole_classes(parts.data.train, min(MOST, len(validation) or MOST))
    training, labels, ids = _embedded(module, parts.feed.part(sample))
    dimensions, classes = effective_dimensions(training), sample.classes
    recall = evaluate(training, labels, ids, ks=(1,)).recall[1]
    if not len(validation) or parts.settings.refit:
        return Measured(None, recall, dimensions, classes=classes)
    rows, labels, ids = _embedded(module, parts.feed.part(validation))
    cut = {str(dim): evaluate(rows[:, :dim], labels, ids, ks=(1,)).recall[1] for dim in parts.settings.model.dims}
    return Measured(evaluate(rows, labels, ids, ks=(1,)).recall[1], recall, dimensions, cut, classes)


def warnings(summary: Mapping[str, Any], memory_start: int | None = None, every: int = 0) -> list[str]:
    """One sentence for each fault of a run, found in its summary; none where all is well.

    `memory_start`: the step at which the memory was to start, where it was given. `every`: steps between two checks
    whether the rows are fresh; the first check has no earlier embeddings to compare with.
    """
    before, after, dim = summary.get("before_training"), summary.get("after_training"), summary.get("dim", 0)
    if not before or not after:
        return []
    sentences = _of_memory(summary, memory_start, every)
    start, end = before["validation R@1"], after["validation R@1"]
    if start is not None and end < start:
        sentences.append(
            f"training made it worse: validation R@1 was {start:.3f} before training and is {end:.3f} after it; "
            "lower --optim.lr, weaken --augment.policy, or check the labels"
        )
    start, end = before["training R@1"], after["training R@1"]
    if end < PARTED and end - start < LEARNT * (1 - start):
        sentences.append(
            f"the training classes themselves are not told apart: R@1 among their images is {end:.3f} "
            f"({start:.3f} before training); check the labels, --optim.lr and --augment.policy"
        )
    start, used = before["effective dimensions"], after["effective dimensions"]
    shrunk = used < SHRUNK * start and used < summary.get("training_classes", 0) / 10  # few classes need few dimensions
    flat = max(1.5, min(FLAT * dim, FEW * after.get("training classes measured", dim)))
    if shrunk or used < min(flat, start):
        sentences.append(
            f"embeddings have collapsed: they use {used:.1f} of {dim} dimensions, {start:.1f} before training; "
            "lower --optim.lr or check the labels"
        )
    return sentences


def _of_memory(summary: Mapping[str, Any], given: int | None, every: int) -> list[str]:
    """Warn if the memory never counted, or only after the best model; `given`: its start, where that was given."""
    counted, best = summary.get("memory_start"), summary.get("best_step")
    if not summary.get("memory_rows"):
        return []
    if counted is not None:
        if best is None or best > counted:
            return []
        told = f"the best model is of step {best:,}, and the memory counted from step {counted:,}: it had no part in it"
        way_out = "train for longer, or lower --optim.lr"
        if (summary.get("best_validation_R@1") or 0) >= 1:
            way_out = "no validation query is wrong there, so no later step can be better; more classes help"
        return [f"{told}; {way_out}"]
    if given is not None:
        why = f"it was to start at step {given:,}, after the {summary['steps']:,} steps of the run"
        why += "; lower --memory.start, or train for longer"
    elif every and summary["steps"] <= every:
        why = f"whether its rows are fresh is checked every {every:,} steps, and the run had {summary['steps']:,}"
        why += "; train for longer, or give --memory.start"
    else:
        why = "its rows moved too far all along; lower --optim.lr, train for longer, or give --memory.start"
    return [f"the memory never counted: {why}"]


def _whole_classes(part: Part, images: int) -> Part:
    """Randomly drawn classes of two or more images, each with all its images, until there are `images` images."""
    classes, counts = part.labels.unique(return_counts=True)
    order = torch.randperm(len(classes), generator=torch.Generator().manual_seed(0))
    several = order[counts[order] > 1]
    enough = int((counts[several].cumsum(0) < images).sum()) + 1
    return part.select(torch.isin(part.labels, classes[several[:enough]]))


def _embedded(module: MetricLearner, batches: PartBatches) -> Embedded:
    """Embed a part with the network that is validated; each process embeds its share, and all get all rows."""
    numbers = range(len(batches))[module.processes.part(len(batches))]
    rows = embedded(module.network, batches, numbers)
    return put_together(rows, module.processes, module.dim, torch.device("cpu"))
