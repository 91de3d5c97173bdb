"""Sums over the positives or the negatives of each anchor, and how sums over two sets of columns are merged."""

from functools import reduce
from itertools import zip_longest
from typing import NamedTuple

import torch
from torch import Tensor

from crossbatch.errors import SettingError
from crossbatch.processes import Processes


class Sums(NamedTuple):
    """Sums over one side (the positives or the negatives) of each anchor, for a formula; every field is [anchors].

    `total`: Σ weight · cost; for a side in a logarithm log Σ weight · exp(cost), −∞ without a pair. Differentiable.
    `weight`: Σ weight, without gradient; the number of pairs if there are no weights.
    `pairs`: how many pairs count.
    `cost`: Σ weight · cost; None for a side in a logarithm, unless the formula asks for its mean.
    `greatest`: the value of `nearest`; None unless the formula asks for it.
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
            raise SettingError(
                "a side in a logarithm has a total and no mean: read .total, or set mean_of_positives = True"
            )
        return self.cost / self.weight.clamp(min=torch.finfo(self.weight.dtype).tiny)

    @property
    def nearest(self) -> Tensor:
        """Greatest similarity of a negative, −∞ without one; no gradient flows to it."""
        if self.greatest is None:
            raise SettingError("negatives.nearest is not computed by default: set nearest_negative = True in the class")
        return self.greatest


class Partial(NamedTuple):
    """Sums over some of the columns, for one side of each anchor.

    `by`: derivatives of `total` by the anchors and then by each tensor of the context; None stands for 0.
    For a side in a logarithm `total` is Σ weight · exp(cost − `top`); a `top` of None stands for 0.
    """

    total: Tensor
    weight: Tensor
    pairs: Tensor
    by: tuple[Tensor | None, ...] = ()
    top: Tensor | None = None


def merge(left: Partial, right: Partial) -> Partial:
    """Merge the sums of two disjoint sets of columns. This is associative, so columns may be split anywhere."""
    top = left.top
    if left.top is not None and right.top is not None:
        top = torch.maximum(left.top, right.top)
        left, right = _scaled(left, left.top - top), _scaled(right, right.top - top)
    by = tuple(
        other if own is None else own if other is None else own + other for own, other in zip_longest(left.by, right.by)
    )
    return Partial(left.total + right.total, left.weight + right.weight, left.pairs + right.pairs, by, top)


def merge_across(found: Partial | None, none: Tensor, processes: Processes, *, log: bool) -> Partial:
    """Merge the sums of all processes, each over its own columns; `by` stays that of this process's columns alone.

    `found`: the sums of this process, None if it has no column. `none`: zeros [anchors].
    """
    if found is None:
        found = Partial(none, none, none, top=torch.full_like(none, -torch.inf))
    top = none if found.top is None else found.top
    gathered = processes.stack(torch.stack([found.total, found.weight, found.pairs, top]))
    parts = [Partial(total, weight, pairs, (), greatest) for total, weight, pairs, greatest in gathered]
    parts[processes.rank] = found._replace(top=top)
    merged = reduce(merge, parts)
    return merged if log else merged._replace(top=None)


def _scaled(side: Partial, exponent: Tensor) -> Partial:
    factor = exponent.exp().nan_to_num_(0.0)  # the top of an empty sum is −∞, and −∞ − (−∞) is not a number
    return side._replace(total=side.total * factor, by=scaled(side.by, factor))


def scaled(by: tuple[Tensor | None, ...], factor: Tensor) -> tuple[Tensor | None, ...]:
    """Multiply derivatives by a factor [anchors]."""
    return tuple(
        None if derivative is None else derivative * factor.view(-1, *[1] * (derivative.dim() - 1)) for derivative in by
    )
