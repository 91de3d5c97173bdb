"""Positives and negatives as masks over the matrix of all similarities, in plain torch: the reference."""

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property

import torch
from torch import Tensor

from crossbatch.losses.engine.costs import Cost, parted
from crossbatch.losses.engine.sums import Sums


class Whole:
    """Sums over the positives and the negatives of each anchor, by masks over the matrix of all similarities.

    `has_positive`: whether an anchor has a positive.
    """

    def __init__(self, anchors: Tensor, refs: Tensor, positive: Tensor, negative: Tensor) -> None:
        self.anchors, self.similarities = anchors, anchors @ refs.to(anchors).T
        self.present = {"positive": positive, "negative": negative}
        self.has_positive = positive.any(1)

    @cached_property
    def farthest(self) -> Tensor:
        """Least similarity of a positive of each anchor, +∞ without one; no gradient flows to it."""
        return self._extreme("positive", torch.amin, torch.inf)

    def positives(self, cost: Cost, *context: Tensor, log: bool = False) -> Sums:
        """Sums over the positives of each anchor."""
        return self._sums(cost, context, "positive", log)

    def negatives(self, cost: Cost, *context: Tensor, log: bool = False, nearest: bool = False) -> Sums:
        """Sums over the negatives of each anchor; with `nearest`, also the greatest similarity of a negative."""
        sums = self._sums(cost, context, "negative", getattr(cost, "log", log))
        return sums._replace(greatest=self._extreme("negative", torch.amax, -torch.inf) if nearest else None)

    def positive_similarities(self) -> Iterator[Tensor]:
        """Yield similarities [anchors, refs], differentiable, +∞ where a pair is not positive: one block here."""
        yield self.similarities.masked_fill(~self.present["positive"], torch.inf)

    def _sums(self, cost: Cost, context: Sequence[Tensor], side: str, log: bool) -> Sums:
        costs, weights, costly = parted(cost(self.similarities, *context), self.similarities)
        if costly and not log:
            weights = costs > 0
        counted = self.present[side]
        if weights is not None:
            counted = counted & weights if weights.dtype == torch.bool else counted * weights
        masked, numbers = counted.dtype == torch.bool, counted.to(costs.dtype)  # a CPU is slow with bools
        if log:
            absent, terms = (~counted, costs) if masked else (numbers == 0, costs + numbers.log())
            total = terms.masked_fill(absent, -torch.inf).logsumexp(1)
        else:
            total = (costs * numbers).sum(1)
        weight = numbers.sum(1)
        return Sums(total, weight, weight if masked else numbers.sign().sum(1), None if log else total)

    def _extreme(self, side: str, reduce: Callable[[Tensor, int], Tensor], none: float) -> Tensor:
        """Least or greatest similarity of each anchor on a side; `none` without a pair."""
        similarities = self.similarities.detach().masked_fill(~self.present[side], none)
        return reduce(similarities, 1) if similarities.shape[1] else similarities.new_full(similarities.shape[:1], none)
