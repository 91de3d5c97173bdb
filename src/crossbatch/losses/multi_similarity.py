"""Multi-similarity loss with its mining: weight each pair by how hard it is compared with the other pairs."""

from torch import Tensor
from torch.nn.functional import softplus

from crossbatch.errors import SettingError
from crossbatch.losses.pair_loss import Exponent, PairLoss, Sums, require_finite, require_positive


class MultiSimilarityLoss(PairLoss):
    """`log(1 + Σ_pos exp(−α(s − λ))) / α + log(1 + Σ_neg exp(β(s − λ))) / β` over mined pairs.

    For each anchor, mining keeps negatives with a similarity above that of its farthest positive − ε, and positives
    with a similarity below that of its nearest negative + ε. An anchor without a positive, or without a negative, has
    no mined pairs and contributes 0, as in the authors' code.
    Source: Wang et al., Multi-Similarity Loss with General Pair Weighting, CVPR 2019, equations 11 to 15.

    Args:
        alpha: α, steepness for positives.
        beta: β, steepness for negatives.
        base: λ, a cosine.
        epsilon: ε, a difference of cosines: the tolerance of the mining.
        room: A cosine; positives above it get no gradient.
    """

    log_positives = nearest_negative = True

    def __init__(
        self, alpha: float = 2.0, beta: float = 50.0, base: float = 0.5, epsilon: float = 0.1, *, room: float = 1.0
    ) -> None:
        super().__init__(room=room)
        require_positive(alpha=alpha, beta=beta)
        require_finite(base=base, epsilon=epsilon)
        if epsilon < 0:
            raise SettingError(f"epsilon is a difference of cosines, at least 0, got {epsilon}")
        self.alpha, self.beta, self.base, self.epsilon = alpha, beta, base, epsilon

    def context(self, farthest_positive: Tensor) -> tuple[Tensor, ...]:
        """Similarity above which negatives are mined."""
        return (farthest_positive - self.epsilon,)

    @property
    def negative(self) -> Exponent:
        """`β(s − λ)`."""
        return Exponent(self.beta, self.base)

    def positive(self, s: Tensor, negatives: Sums) -> tuple[Tensor, Tensor]:
        """`−α(s − λ)`, and which positives are mined."""
        return -self.alpha * (s - self.base), s < negatives.nearest[:, None] + self.epsilon

    def combine(self, positives: Sums, negatives: Sums) -> Tensor:
        """Add the logarithms of both sides, each divided by its steepness."""
        return softplus(positives.total) / self.alpha + softplus(negatives.total) / self.beta
