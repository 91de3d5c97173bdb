"""Generalized lifted structure loss: all positives of an anchor against all its negatives."""

from torch import Tensor
from torch.nn.functional import relu

from crossbatch.errors import SettingError
from crossbatch.losses.pair_loss import Exponent, PairLoss, Sums, require_positive


class LiftedStructureLoss(PairLoss):
    """`[log Σ_pos exp(γ (1 − s)) + log Σ_neg exp(γ (s − neg_margin))]₊ / γ`.

    The generalized form: one term per anchor rather than per pair. It uses cosines in place of distances: 1 − s for the
    distance, 1 − `neg_margin` for the margin. An anchor without a positive, or without a negative, contributes 0.
    Sources: Oh Song et al., CVPR 2016; Hermans et al., In Defense of the Triplet Loss, 2017, equation 8.

    Args:
        scale: γ, steepness.
        neg_margin: A cosine; negatives far below it count little.
        room: A cosine; positives above it get no gradient.
    """

    log_positives = True

    def __init__(self, scale: float = 16.0, neg_margin: float = 0.5, *, room: float = 1.0) -> None:
        super().__init__(room=room)
        require_positive(scale=scale)
        if not -1 <= neg_margin <= 1:
            raise SettingError(f"neg_margin is a cosine, from -1 to 1, got {neg_margin}")
        self.scale, self.neg_margin = scale, neg_margin

    @property
    def negative(self) -> Exponent:
        """`γ (s − neg_margin)`."""
        return Exponent(self.scale, self.neg_margin)

    def positive(self, s: Tensor, negatives: Sums) -> Tensor:
        """`γ (1 − s)`."""
        return self.scale * (1 - s)

    def combine(self, positives: Sums, negatives: Sums) -> Tensor:
        """Add both logarithms, cut off below 0, and divide by the scale."""
        return relu(positives.total + negatives.total) / self.scale
