"""Circle loss: weight each pair by how far its similarity is from its optimum."""

import torch
from torch import Tensor
from torch.nn.functional import softplus

from crossbatch.errors import SettingError
from crossbatch.losses.pair_loss import PairLoss, Sums, require_number, require_positive


class CircleLoss(PairLoss):
    """`log(1 + Σ_neg exp(γ αₙ (s − m)) · Σ_pos exp(−γ αₚ (s − 1 + m)))`, with `αₙ = [s + m]₊`, `αₚ = [1 + m − s]₊`.

    The weights α are constants in the gradient, as in the paper's equation 10. An anchor without a positive, or
    without a negative, contributes 0.
    Source: Sun et al., Circle Loss, CVPR 2020.

    Args:
        margin: m, a difference of cosines.
        scale: γ, steepness.
        room: A cosine; positives above it get no gradient.
    """

    log_negatives = log_positives = True

    def __init__(self, margin: float = 0.4, scale: float = 80.0, *, room: float = 1.0) -> None:
        super().__init__(room=room)
        require_positive(scale=scale)
        if not 0 <= margin < 1:
            raise SettingError(f"margin is at least 0 and below 1, got {margin}")
        self.margin, self.scale = margin, scale

    def negative(self, s: Tensor) -> Tensor:
        """`γ αₙ (s − m)`."""
        require_number(margin=self.margin, scale=self.scale)
        pace = self._pace(s.detach())
        return pace * (s - self.margin)

    def positive(self, s: Tensor, negatives: Sums) -> Tensor:
        """`−γ αₚ (s − 1 + m)`."""
        pace = self._pace(1 - s.detach())
        return pace * (1 - self.margin - s)

    def _pace(self, s: Tensor) -> Tensor:
        """`γ α` of a negative with similarity s; for a positive, pass 1 − s."""
        return torch.add(s.new_full((), self.margin * self.scale), s, alpha=self.scale).relu_()

    def combine(self, positives: Sums, negatives: Sums) -> Tensor:
        """The logarithm of a product of two sums is the sum of their logarithms."""
        return softplus(positives.total + negatives.total)
