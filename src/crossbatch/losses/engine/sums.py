"""What the pairs on one side of each anchor add up to, and how the sums of two sets of columns become one."""

from functools import reduce
from itertools import zip_longest
from typing import NamedTuple

import torch
from torch import Tensor

from crossbatch.errors import SettingError
from crossbatch.processes import Processes


class Sums(NamedTuple):
    """One side of each anchor, as a formula sees it; every field is [anchors].

    `total`: Σ weight · cost, or log Σ weight · exp(cost) where the formula says so (−∞ without a pair); differentiable.
    `pairs`: how many pairs count. `weight`: Σ weight, constant in the gradient; without weights, as `pairs`. `cost`:
    Σ weight · cost; None in a logarithm, but where the formula asks for its mean. `greatest`: `nearest`, where the
    formula asks for it.
    """

    total: Tensor
    weight: Tensor
    pairs: Tensor
    cost: Tensor | None
    greatest: Tensor | None = None

    @property
    def mean(self) -> Tensor:
        """Weighted mean cost; 0 without a pair."""
        if self.cost is None:
            raise SettingError("a side in a logarithm has a total; its mean must be asked for (mean_of_positives)")
        return self.cost / self.weight.clamp(min=torch.finfo(self.weight.dtype).tiny)

    @property
    def nearest(self) -> Tensor:
        """The greatest similarity of a negative, −∞ without one; constant."""
        if self.greatest is None:
            raise SettingError("the nearest negative must be asked for (nearest_negative = True)")
        return self.greatest


class Partial(NamedTuple):
    """What some columns add to a side, with the derivatives of `total` by the anchors and by each of the context.

    In a logarithm `total` is Σ weight · exp(cost − `top`); a `top` of None is 0. A derivative of None is 0.
    """

    total: Tensor
    weight: Tensor
    pairs: Tensor
    by: tuple[Tensor | None, ...] = ()
    top: Tensor | None = None


def merge(left: Partial, right: Partial) -> Partial:
    """The sums of two disjoint sets of columns; associative, so any split of the columns will do."""
    top = left.top
    if left.top is not None and right.top is not None:
        top = torch.maximum(left.top, right.top)
        left, right = _scaled(left, left.top - top), _scaled(right, right.top - top)
    by = tuple(two if one is None else one if two is None else one + two for one, two in zip_longest(left.by, right.by))
    return Partial(left.total + right.total, left.weight + right.weight, left.pairs + right.pairs, by, top)


def merge_across(found: Partial | None, none: Tensor, processes: Processes, *, log: bool) -> Partial:
    """The sums of the columns of all processes, with the derivatives by those of this one alone.

    `found` of None: this process has no column; `none` is 0 for each anchor.
    """
    if found is None:
        found = Partial(none, none, none, top=torch.full_like(none, -torch.inf))
    top = none if found.top is None else found.top
    sent = processes.stack(torch.stack([found.total, found.weight, found.pairs, top]))
    every = [Partial(total, weight, pairs, (), greatest) for total, weight, pairs, greatest in sent]
    every[processes.rank] = found._replace(top=top)
    merged = reduce(merge, every)
    return merged if log else merged._replace(top=None)


def _scaled(side: Partial, exponent: Tensor) -> Partial:
    factor = exponent.exp().nan_to_num_(0.0)  # an empty sum has −∞ for its top, and −∞ less −∞ is not a number
    return side._replace(total=side.total * factor, by=scaled(side.by, factor))


def scaled(by: tuple[Tensor | None, ...], factor: Tensor) -> tuple[Tensor | None, ...]:
    """Derivatives times a factor of each anchor."""
    return tuple(None if each is None else each * factor.view(-1, *[1] * (each.dim() - 1)) for each in by)
