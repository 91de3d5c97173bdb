"""NT-Xent loss: each positive against all negatives at once, with a temperature."""

from torch import Tensor
from torch.nn.functional import softplus

from crossbatch.losses.pair_loss import Costs, Exponent, PairLoss, Sums, require_positive


class NTXentLoss(PairLoss):
    """Mean over the positives of `−log(exp(s_pos / T) / (exp(s_pos / T) + Σ_neg exp(s_neg / T)))`.

    Also called InfoNCE. The denominator contains this positive and no other. An anchor without a positive, or without
    a negative, contributes 0. Sources: van den Oord et al., 2018; Chen et al., ICML 2020.

    Args:
        temperature: T; the lower, the more the nearest negatives count.
        room: A cosine; positives above it get no gradient.
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
        """Mean over the positives."""
        return positives.mean
