"""Supervised contrastive loss: each positive against all pairs of the anchor at once."""

import torch
from torch import Tensor

from crossbatch.losses.pair_loss import Costs, Exponent, PairLoss, Sums, require_positive


class SupConLoss(PairLoss):
    """Mean over the positives of `−log(exp(s_pos / T) / Σ_all exp(s / T))`.

    The denominator contains all positives and negatives of the anchor (the paper's L_out). An anchor without a
    positive contributes 0. Source: Khosla et al., Supervised Contrastive Learning, NeurIPS 2020, equation 2.

    Args:
        temperature: T; the lower, the more the nearest negatives count.
        room: A cosine; positives above it get no gradient.
    """

    log_positives = mean_of_positives = True

    def __init__(self, temperature: float = 0.1, *, room: float = 1.0) -> None:
        super().__init__(room=room)
        require_positive(temperature=temperature)
        self.temperature = temperature

    @property
    def negative(self) -> Exponent:
        """`s / T`."""
        return Exponent(1 / self.temperature)

    def positive(self, s: Tensor, negatives: Sums) -> Costs:
        """`s / T`."""
        return s / self.temperature, None

    def combine(self, positives: Sums, negatives: Sums) -> Tensor:
        """`log Σ_all − mean_pos`."""
        has_positive = positives.pairs > 0
        everything = torch.logaddexp(
            torch.where(has_positive, positives.total, 0), torch.where(has_positive, negatives.total, 0)
        )
        return torch.where(has_positive, everything - positives.mean, 0)
