"""Neighbourhood component analysis: the probability that a softly chosen neighbour of the anchor is of its class."""

import torch
from torch import Tensor
from torch.nn.functional import softplus

from crossbatch.losses.pair_loss import Exponent, PairLoss, Sums, require_positive


class NCALoss(PairLoss):
    """`−log(Σ_pos exp(γ s) / Σ_all exp(γ s))`.

    On unit vectors the paper's exp(−d²) equals exp(γ s) with γ = 2, up to a constant factor. An anchor without a
    positive contributes 0. Source: Goldberger et al., NeurIPS 2004; the logarithm as in their section 2.1.

    Args:
        scale: γ, steepness.
        room: A cosine; positives above it get no gradient.
    """

    log_positives = True

    def __init__(self, scale: float = 16.0, *, room: float = 1.0) -> None:
        super().__init__(room=room)
        require_positive(scale=scale)
        self.scale = scale

    @property
    def negative(self) -> Exponent:
        """`γ s`."""
        return Exponent(self.scale)

    def positive(self, s: Tensor, negatives: Sums) -> Tensor:
        """`γ s`."""
        return self.scale * s

    def combine(self, positives: Sums, negatives: Sums) -> Tensor:
        """`log(1 + Σ_neg / Σ_pos)`."""
        has_positive = positives.pairs > 0
        ratio = torch.where(has_positive, negatives.total, -torch.inf) - torch.where(has_positive, positives.total, 0)
        return softplus(ratio)
