"""Binomial deviance: a soft cost of each pair by itself."""

from torch import Tensor
from torch.nn.functional import softplus

from crossbatch.losses.pair_loss import Costs, PairLoss, Sums, require_finite, require_positive


class BinomialDevianceLoss(PairLoss):
    """Positives cost `log(1 + exp(−α (s − λ)))`, negatives `log(1 + exp(β (s − λ)))`; per anchor the mean of each side.

    In the paper's letters β is α · C, with C = 25 there and 20 here. An anchor without a positive, or without a
    negative, contributes the other side alone.
    Source: Yi et al., Deep Metric Learning for Practical Person Re-Identification, ICPR 2014.

    Args:
        alpha: α, steepness for positives.
        beta: β, steepness for negatives.
        base: λ, a cosine: where the two sides part.
        room: A cosine; positives above it get no gradient.
    """

    def __init__(self, alpha: float = 2.0, beta: float = 40.0, base: float = 0.5, *, room: float = 1.0) -> None:
        super().__init__(room=room)
        require_positive(alpha=alpha, beta=beta)
        require_finite(base=base)
        self.alpha, self.beta, self.base = alpha, beta, base

    def negative(self, s: Tensor) -> Costs:
        """`log(1 + exp(β (s − λ)))`."""
        return softplus(self.beta * (s - self.base)), None

    def positive(self, s: Tensor, negatives: Sums) -> Costs:
        """`log(1 + exp(−α (s − λ)))`."""
        return softplus(-self.alpha * (s - self.base)), None
