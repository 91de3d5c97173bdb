"""Drift: how far embeddings move while the network trains, as squared distance by the steps between."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import normalize

from crossbatch.memory import CrossBatchMemory
from crossbatch.shapes import Embeddings, Ids, Labels, PerAnchor

# The first ages of the bins that distances are gathered in, in steps: near-equal in logarithm, round to read.
FIRST_AGES = (0, 1, 2, 3, 5, 7, *(round(ten * n) for ten in (10, 100, 1e3, 1e4, 1e5) for n in (1, 1.5, 2, 3, 5, 7)))


class AtAge(NamedTuple):
    """The mean squared distance of pairs of embeddings of an image, `first` to `last` steps apart, `age` on average."""

    first: int
    last: int
    age: float
    pairs: int
    distance: float


def squared_distance(now: Embeddings, then: Embeddings) -> PerAnchor:
    """‖now − then‖² of each row, both of unit length: 0 for one that has not moved, 2 between unrelated ones."""
    return (normalize(now.float()) - normalize(then.float())).square().sum(1)


def returning(memory: CrossBatchMemory, embeddings: Embeddings, ids: Ids, step: int) -> tuple[Tensor, Tensor]:
    """Ages and squared distances of the images of a batch of which the memory still holds an older row.

    To be asked before the batch is enqueued. It costs no forward pass; where training augments, a distance is the
    drift and what two augmentations of an image differ by.
    """
    rows = memory.lookup(ids)
    known = rows.slots >= 0
    return step - rows.steps[known], squared_distance(embeddings[known], rows.embeddings[known])


def bins(ages: Tensor) -> Tensor:
    """Number of the bin of each age."""
    return torch.bucketize(ages, torch.tensor(FIRST_AGES, device=ages.device), right=True) - 1


def age_at(curve: Sequence[tuple[int, float]], distance: float) -> float:
    """The age at which a curve of (age, distance), ascending, first passes a distance; between ages a straight line.

    Infinite where it does not.
    """
    before = (0, 0.0)
    for age, moved in curve:
        if moved > distance:
            return before[0] + (distance - before[1]) / (moved - before[1]) * (age - before[0])
        before = (age, moved)
    return math.inf


class ByAge:
    """Squared distances, gathered by age until they are taken."""

    def __init__(self) -> None:
        self.total = torch.zeros(len(FIRST_AGES), dtype=torch.float64)
        self.pairs = torch.zeros(len(FIRST_AGES), dtype=torch.int64)
        self.ages = torch.zeros(len(FIRST_AGES), dtype=torch.int64)

    def add(self, ages: Tensor, distances: Tensor) -> None:
        """Count these pairs."""
        place = bins(ages).cpu()
        self.total.index_add_(0, place, distances.double().cpu())
        self.pairs.index_add_(0, place, torch.ones_like(place))
        self.ages.index_add_(0, place, ages.cpu())

    def take(self) -> list[AtAge]:
        """What was gathered since the last time, the youngest first; bins without a pair are left out."""
        bounds = zip(FIRST_AGES, [*(first - 1 for first in FIRST_AGES[1:]), 10**9], strict=True)
        found = [
            AtAge(first, last, ages / pairs, pairs, total / pairs)
            for (first, last), ages, pairs, total in zip(
                bounds, self.ages.tolist(), self.pairs.tolist(), self.total.tolist(), strict=True
            )
            if pairs
        ]
        for gathered in (self.total, self.pairs, self.ages):
            gathered.zero_()
        return found


class Sample:
    """The paper's meter: one sample of images, embedded again and again.

    `D(Δt) = mean over the sample of ‖f(x; θ_t) − f(x; θ_{t−Δt})‖²`. Source: Wang et al., CVPR 2020, section 3.2.
    Where a memory follows the network, `carried` are the same embeddings moved as its rows are.
    """

    def __init__(self, longest: int = 1000) -> None:
        self.longest = longest
        self.embedded: dict[int, Embeddings] = {}
        self.carried: dict[int, Embeddings] = {}

    def carry(self, move: Callable[[Embeddings, int], Embeddings]) -> None:
        """Move what is kept, each with the step that it was embedded at, as a memory has just moved its rows."""
        self.carried = {then: move(kept, then) for then, kept in {**self.embedded, **self.carried}.items()}

    def add(self, step: int, embeddings: Embeddings) -> tuple[list[AtAge], list[AtAge]]:
        """Compare with each earlier embedding, up to `longest` steps ago, as it was and as carried; keep this one."""
        recent = range(step - self.longest, step)
        self.embedded, self.carried = (
            {then: kept for then, kept in rows.items() if then in recent} for rows in (self.embedded, self.carried)
        )
        found = _by_age(step, embeddings, self.embedded), _by_age(step, embeddings, self.carried)
        self.embedded[step] = embeddings
        return found


def _by_age(step: int, embeddings: Embeddings, earlier: Mapping[int, Embeddings]) -> list[AtAge]:
    found = []
    for then, kept in sorted(earlier.items(), reverse=True):
        age, moved = step - then, squared_distance(embeddings, kept.to(embeddings)).mean()
        found.append(AtAge(age, age, age, len(kept), float(moved)))
    return found


def class_spread(embeddings: Embeddings, labels: Labels) -> float:
    """Mean squared distance between different images of one class; not a number where no class has two."""
    same = (labels[:, None] == labels) & ~torch.eye(len(labels), dtype=torch.bool, device=labels.device)
    one, other = same.nonzero(as_tuple=True)
    return float(squared_distance(embeddings[one], embeddings[other]).mean())
