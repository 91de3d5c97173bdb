"""Positives and negatives as masks over the matrix of all similarities, in plain torch: the reference."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from crossbatch.losses.engine.costs import Cost, parted
from crossbatch.losses.engine.sums import Sums


class Whole:
    """Sums over the positives and the negatives of each anchor, by masks over the matrix of all similarities.

    `farthest`: the least similarity of a positive of each anchor, +∞ without one; no gradient flows to it.
    """

    def __init__(self, anchors: Tensor, refs: Tensor, positive: Tensor, negative: Tensor) -> None:
        self.similarities = anchors @ refs.to(anchors).T
        self.present = {"positive": positive.to(anchors.dtype), "negative": negative.to(anchors.dtype)}
        self.absent = {"positive": ~positive, "negative": ~negative}
        self.farthest = -self._nearest("positive", -self.similarities.detach())

    def positives(self, cost: Cost, *context: Tensor, log: bool = False) -> Sums:
        """Sums over the positives of each anchor."""
        return self._sums(cost, context, "positive", log)

    def negatives(self, cost: Cost, *context: Tensor, log: bool = False, nearest: bool = False) -> Sums:
        """Sums over the negatives of each anchor; with `nearest`, also the greatest similarity of a negative."""
        sums = self._sums(cost, context, "negative", getattr(cost, "log", log))
        return sums._replace(greatest=self._nearest("negative", self.similarities.detach()) if nearest else None)

    def positive_similarities(self) -> Iterator[Tensor]:
        """Yield similarities [anchors, refs], differentiable, +∞ where a pair is not positive: one block here."""
        yield self.similarities.masked_fill(self.absent["positive"], torch.inf)

    def _sums(self, cost: Cost, context: Sequence[Tensor], side: str, log: bool) -> Sums:
        costs, weights, costly = parted(cost(self.similarities, *context), self.similarities)
        counted = self.present[side]
        if weights is not None:
            counted = counted * weights
        elif costly and not log:
            counted = counted * (costs > 0)
        if not log:
            total = (costs * counted).sum(1)
        elif weights is None:
            total = costs.masked_fill(self.absent[side], -torch.inf).logsumexp(1)
        else:
            total = (costs + weights.log()).masked_fill(counted == 0, -torch.inf).logsumexp(1)
        weight = counted.sum(1)
        return Sums(total, weight, weight if weights is None else counted.sign().sum(1), None if log else total)

    def _nearest(self, side: str, similarities: Tensor) -> Tensor:
        """Greatest similarity of each anchor on a side; −∞ without a pair."""
        if similarities.shape[1] == 0:
            return similarities.new_full((len(similarities),), -torch.inf)
        return similarities.masked_fill(self.absent[side], -torch.inf).amax(1)
