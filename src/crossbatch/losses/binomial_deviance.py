"""Binomial deviance loss: a smooth cost for each pair, independent of the other pairs."""

from torch import Tensor
from torch.nn.functional import softplus

from crossbatch.losses.pair_loss import Costs, PairLoss, Sums, require_finite, require_positive


class BinomialDevianceLoss(PairLoss):
    """Positives cost `log(1 + exp(−α (s − λ)))`, negatives `log(1 + exp(β (s − λ)))`; an anchor's loss adds both means.

    The paper writes α · C for β, with C = 25; here C is 20. An anchor without a positive, or without a negative,
    contributes the mean of the other side alone.
    Source: Yi et al., Deep Metric Learning for Practical Person Re-Identification, ICPR 2014.

    Args:
        alpha: α, steepness for positives.
        beta: β, steepness for negatives.
        base: λ, a cosine: the boundary between positives and negatives.
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
