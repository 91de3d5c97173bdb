"""Drift: how far embeddings move during training, as the squared distance after a number of steps."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import normalize

from crossbatch.memory import CrossBatchMemory
from crossbatch.shapes import Embeddings, Ids, Labels, PerAnchor

# Distances are averaged in bins of age. These are the first ages of the bins, in steps: round numbers, spaced about
# evenly on a logarithmic scale.
FIRST_AGES = (0, 1, 2, 3, 5, 7, *(round(ten * n) for ten in (10, 100, 1e3, 1e4, 1e5) for n in (1, 1.5, 2, 3, 5, 7)))


class AtAge(NamedTuple):
    """Mean squared distance of pairs of embeddings of one image, `first` to `last` steps apart, `age` on average."""

    first: int
    last: int
    age: float
    pairs: int
    distance: float


def squared_distance(now: Embeddings, then: Embeddings) -> PerAnchor:
    """‖now − then‖² of each row, after scaling to unit length: 0 if it did not move, 2 for unrelated embeddings."""
    return (normalize(now.float()) - normalize(then.float())).square().sum(1)


def returning(memory: CrossBatchMemory, embeddings: Embeddings, ids: Ids, step: int) -> tuple[Tensor, Tensor]:
    """Return ages and squared distances of those images of a batch that have an older row in the memory.

    Call it before the batch is enqueued. It needs no forward pass. With augmentation, a distance includes the
    difference between two augmentations of the image as well as the drift.
    """
    rows = memory.lookup(ids)
    in_memory = rows.slots >= 0
    return step - rows.steps[in_memory], squared_distance(embeddings[in_memory], rows.embeddings[in_memory])


def bins(ages: Tensor) -> Tensor:
    """Index of the bin of each age."""
    return torch.bucketize(ages, torch.tensor(FIRST_AGES, device=ages.device), right=True) - 1


def age_at(curve: Sequence[tuple[int, float]], distance: float) -> float:
    """Age at which a curve of (age, distance), ascending by age, first exceeds a distance, by linear interpolation.

    Infinity if the curve does not exceed it.
    """
    before = (0, 0.0)
    for age, moved in curve:
        if moved > distance:
            return before[0] + (distance - before[1]) / (moved - before[1]) * (age - before[0])
        before = (age, moved)
    return math.inf


class ByAge:
    """Running means of squared distances in bins of age."""

    def __init__(self) -> None:
        self.total = torch.zeros(len(FIRST_AGES), dtype=torch.float64)
        self.pairs = torch.zeros(len(FIRST_AGES), dtype=torch.int64)
        self.ages = torch.zeros(len(FIRST_AGES), dtype=torch.int64)

    def add(self, ages: Tensor, distances: Tensor) -> None:
        """Add pairs, given the age and the squared distance of each."""
        place = bins(ages).cpu()
        self.total.index_add_(0, place, distances.double().cpu())
        self.pairs.index_add_(0, place, torch.ones_like(place))
        self.ages.index_add_(0, place, ages.cpu())

    def take(self) -> list[AtAge]:
        """Return the means since the last call, lowest ages first, and start anew; empty bins are left out."""
        bounds = zip(FIRST_AGES, [*(first - 1 for first in FIRST_AGES[1:]), 10**9], strict=True)
        means = [
            AtAge(first, last, ages / pairs, pairs, total / pairs)
            for (first, last), ages, pairs, total in zip(
                bounds, self.ages.tolist(), self.pairs.tolist(), self.total.tolist(), strict=True
            )
            if pairs
        ]
        for gathered in (self.total, self.pairs, self.ages):
            gathered.zero_()
        return means


class Sample:
    """The paper's measure of drift, on one sample of images that is embedded again and again.

    `D(Δt) = mean over the sample of ‖f(x; θ_t) − f(x; θ_{t−Δt})‖²`. Source: Wang et al., CVPR 2020, section 3.2.
    `embedded` holds the embeddings of the sample by step. If a memory follows the network, `carried` holds the same
    embeddings, moved as the rows of the memory are.
    """

    def __init__(self, longest: int = 1000) -> None:
        self.longest = longest
        self.embedded: dict[int, Embeddings] = {}
        self.carried: dict[int, Embeddings] = {}

    def carry(self, move: Callable[[Embeddings, int], Embeddings]) -> None:
        """Move the kept embeddings as the memory moved its rows, by `move(embeddings, step they were embedded at)`."""
        self.carried = {then: move(kept, then) for then, kept in {**self.embedded, **self.carried}.items()}

    def add(self, step: int, embeddings: Embeddings) -> tuple[list[AtAge], list[AtAge]]:
        """Compare the sample with its embeddings of up to `longest` steps ago, as embedded and as carried; keep it."""
        recent = range(step - self.longest, step)
        self.embedded, self.carried = (
            {then: kept for then, kept in rows.items() if then in recent} for rows in (self.embedded, self.carried)
        )
        curves = _by_age(step, embeddings, self.embedded), _by_age(step, embeddings, self.carried)
        self.embedded[step] = embeddings
        return curves


def _by_age(step: int, embeddings: Embeddings, earlier: Mapping[int, Embeddings]) -> list[AtAge]:
    curve = []
    for then, kept in sorted(earlier.items(), reverse=True):
        age, moved = step - then, squared_distance(embeddings, kept.to(embeddings)).mean()
        curve.append(AtAge(age, age, age, len(kept), float(moved)))
    return curve


def class_spread(embeddings: Embeddings, labels: Labels) -> float:
    """Mean squared distance between different images of one class; NaN if no class has two images."""
    same = (labels[:, None] == labels) & ~torch.eye(len(labels), dtype=torch.bool, device=labels.device)
    left, right = same.nonzero(as_tuple=True)
    return float(squared_distance(embeddings[left], embeddings[right]).mean())
