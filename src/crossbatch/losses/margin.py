"""Margin loss: a learnt distance is the boundary between positives and negatives."""

import torch
from torch import Tensor, nn
from torch.nn.functional import threshold

from crossbatch.errors import SettingError
from crossbatch.losses.pair_loss import PairLoss, Sums, require_finite, require_positive

SHORTEST = 0.01  # shorter distances get no gradient: the derivative of the square root is unbounded near 0


class MarginLoss(PairLoss):
    """Positives cost `[margin + d − β]₊`, negatives `[margin + β − d]₊`, with d the Euclidean distance of unit vectors.

    The loss of an anchor is one mean over all its pairs that cost more than 0. β starts at `beta` and is learnt: it is
    a parameter, saved with the loss. The paper's β for each class and image, and its regularizer on β, are left out.
    A distance below 0.01 counts as 0.01.
    Source: Wu et al., Sampling Matters in Deep Embedding Learning, ICCV 2017, without their sampling.

    Args:
        margin: A distance: positives should be nearer than β by this much, negatives farther.
        beta: β, a distance: the boundary at the start of training.
        room: A cosine; positives above it leave the mean.
    """

    def __init__(self, margin: float = 0.2, beta: float = 1.2, *, room: float = 1.0) -> None:
        super().__init__(room=room)
        require_positive(beta=beta)
        require_finite(margin=margin)
        if margin < 0:
            raise SettingError(f"margin must not be negative, got {margin}")
        self.margin, self.beta = margin, nn.Parameter(torch.tensor(float(beta)))

    def context(self, farthest_positive: Tensor) -> tuple[Tensor, ...]:
        """β of each anchor."""
        return (self.beta.to(farthest_positive).expand(len(farthest_positive)),)

    def negative(self, s: Tensor, beta: Tensor) -> Tensor:
        """`margin + β − d`."""
        return (self.margin + beta)[:, None] - _distance(s)

    def positive(self, s: Tensor, negatives: Sums) -> Tensor:
        """`margin + d − β`."""
        return self.margin - self.beta.to(s) + _distance(s)

    def combine(self, positives: Sums, negatives: Sums) -> Tensor:
        """One mean over both sides."""
        weight = positives.weight + negatives.weight
        return (positives.total + negatives.total) / weight.clamp(min=1)


def _distance(s: Tensor) -> Tensor:
    """Distance of two unit vectors from their cosine; at least `SHORTEST`."""
    return threshold(torch.rsub(s, 2, alpha=2), SHORTEST**2, SHORTEST**2).sqrt()
