"""N-pair loss: each positive against all negatives at once, with a scale on the cosines."""

from torch import Tensor
from torch.nn.functional import softplus

from crossbatch.losses.pair_loss import Costs, Exponent, PairLoss, Sums, require_positive


class NPairLoss(PairLoss):
    """Mean over the positives of `log(1 + Σ_neg exp(γ (s_neg − s_pos)))`.

    The (N+1)-tuplet loss: each positive of the anchor makes a tuplet with all negatives. Scaled cosines replace the
    paper's inner products and its penalty on length. The loss equals NT-Xent with T = 1 / γ. An anchor without a
    positive, or without a negative, contributes 0. Source: Sohn, NeurIPS 2016, equation 6.

    Args:
        scale: γ, steepness.
        room: A cosine; positives above it get no gradient.
    """

    def __init__(self, scale: float = 16.0, *, room: float = 1.0) -> None:
        super().__init__(room=room)
        require_positive(scale=scale)
        self.scale = scale

    @property
    def negative(self) -> Exponent:
        """`γ s`."""
        return Exponent(self.scale)

    def positive(self, s: Tensor, negatives: Sums) -> Costs:
        """`log(1 + exp(log Σ_neg − γ s))`."""
        return softplus(negatives.total[:, None] - self.scale * s), None

    def combine(self, positives: Sums, negatives: Sums) -> Tensor:
        """Mean over the positives."""
        return positives.mean
