"""NT-Xent and N-pair: each positive against all negatives at once."""

from torch import Tensor
from torch.nn.functional import softplus

from crossbatch.losses.pair_loss import Costs, Exponent, PairLoss, Sums, require_positive


class NTXentLoss(PairLoss):
    """Mean over the positives of `−log(exp(s_pos / T) / (exp(s_pos / T) + Σ_neg exp(s_neg / T)))`; T: `temperature`.

    Also called InfoNCE. The denominator holds one positive, never the others. An anchor without a positive, or without
    a negative, contributes 0. Sources: van den Oord et al., 2018; Chen et al., ICML 2020.
    """

    def __init__(self, temperature: float = 0.1, *, room: float = 1.0) -> None:
        super().__init__(room=room)
        require_positive(temperature=temperature)
        self.temperature = temperature

    @property
    def negative(self) -> Exponent:
        """`s / T`."""
        return Exponent(1 / self.temperature)

    def positive(self, s: Tensor, negatives: Sums) -> Costs:
        """`log(1 + exp(log Σ_neg − s / T))`."""
        return softplus(negatives.total[:, None] - s / self.temperature), None

    def combine(self, positives: Sums, negatives: Sums) -> Tensor:
        """The mean over the positives."""
        return positives.mean


class NPairLoss(PairLoss):
    """Mean over the positives of `log(1 + Σ_neg exp(γ (s_neg − s_pos)))`; γ: `scale`.

    The (N+1)-tuplet loss: every positive of the anchor makes a tuplet with every negative, and cosine with a scale
    takes the place of inner product with a penalty on length. It equals NT-Xent with T = 1 / γ. An anchor without a
    positive, or without a negative, contributes 0. Source: Sohn, NeurIPS 2016, equation 6.
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
        """The mean over the positives."""
        return positives.mean
