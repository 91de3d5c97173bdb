"""Multi-similarity loss with its mining: weigh each pair by how hard it is among the others."""

import torch
from torch.nn.functional import softplus

from crossbatch.errors import SettingError
from crossbatch.losses.pair_loss import PairLoss, Part
from crossbatch.shapes import Counts, PairMask, PerAnchor, Similarities


class MultiSimilarityLoss(PairLoss):
    """`log(1 + Σ_pos exp(−α(s − λ))) / α + log(1 + Σ_neg exp(β(s − λ))) / β` over mined pairs.

    Mining keeps the negatives above (least positive − ε) and the positives below (greatest negative + ε),
    per anchor. An anchor without a positive, or without a negative, has nothing to mine against and
    contributes 0, as in the authors' code. `alpha`, `beta`: steepness; `base` (λ): a cosine;
    `epsilon` (ε): a difference of cosines.

    Source: Wang et al., Multi-Similarity Loss with General Pair Weighting, CVPR 2019, equations 11 to 15.
    """

    log_space = True
    mines = True

    def __init__(
        self, alpha: float = 2.0, beta: float = 50.0, base: float = 0.5, epsilon: float = 0.1, *, chunk: int = 4096
    ) -> None:
        super().__init__(chunk=chunk)
        if alpha <= 0 or beta <= 0:
            raise SettingError(f"alpha and beta must be above 0, got {alpha} and {beta}")
        self.alpha, self.beta, self.base, self.epsilon = alpha, beta, base, epsilon

    def reference(self, similarities: Similarities, positive: PairMask, negative: PairMask) -> PerAnchor:
        """The formula of the class, on the whole matrix."""
        floor = torch.where(positive, similarities, torch.inf).amin(1, keepdim=True) - self.epsilon
        ceiling = torch.where(negative, similarities, -torch.inf).amax(1, keepdim=True) + self.epsilon
        pull = torch.where(positive & (similarities < ceiling), -self.alpha * (similarities - self.base), -torch.inf)
        push = torch.where(negative & (similarities > floor), self.beta * (similarities - self.base), -torch.inf)
        return softplus(pull.logsumexp(1)) / self.alpha + softplus(push.logsumexp(1)) / self.beta

    def negatives(self, similarities: Similarities, least_positive: PerAnchor) -> Part:
        """Those above the least positive, less ε."""
        greatest = similarities.amax(1)
        mined = similarities > (least_positive - self.epsilon)[:, None]
        return self._part(mined, similarities, self.beta, greatest)._replace(extreme=greatest)

    def positives(self, similarities: Similarities, greatest_negative: PerAnchor) -> Part:
        """Those below the greatest negative, plus ε."""
        mined = similarities < (greatest_negative + self.epsilon)[:, None]
        return self._part(mined, similarities, -self.alpha, similarities.amin(1))

    def _part(self, mined: PairMask, similarities: Similarities, slope: float, hardest: PerAnchor) -> Part:
        count = mined.sum(1)
        scale = torch.where(count > 0, slope * (hardest - self.base), -torch.inf)
        exponent = torch.where(mined, slope * (similarities - hardest[:, None]), -torch.inf)
        terms = exponent.exp_()
        return Part(terms.sum(1), slope * terms, count, scale)

    def combine(self, pull: PerAnchor, push: PerAnchor, pulled: Counts, pushed: Counts) -> PerAnchor:  # noqa: ARG002
        """Both logarithms of 1 + Σ, from the logarithms of Σ."""
        return softplus(pull) / self.alpha + softplus(push) / self.beta

    def extra_repr(self) -> str:
        """What `print(loss)` says."""
        return f"alpha={self.alpha}, beta={self.beta}, base={self.base}, epsilon={self.epsilon}"
