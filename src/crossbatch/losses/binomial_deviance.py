"""Binomial deviance: a soft cost of each pair by itself."""

import torch
from torch import Tensor
from torch.nn.functional import softplus

from crossbatch.losses.chunked import Chunks
from crossbatch.losses.columns import pair_sum
from crossbatch.losses.pair_loss import PairLoss, require_positive
from crossbatch.losses.sums import Part
from crossbatch.shapes import PairMask, PerAnchor, Similarities


class BinomialDevianceLoss(PairLoss):
    """Positives cost `log(1 + exp(−α (s − λ))) / α`, negatives `log(1 + exp(β (s − λ))) / β`.

    `alpha`, `beta`: steepness; `base` (λ): a cosine. Per anchor the mean over the positives, plus the sum over the
    negatives divided by how many are above λ: the paper takes their mean, in which a memory's thousands of easy
    negatives would drown the hard ones. Each side is divided by its own steepness, as its gradient then is at most 1
    a pair; the paper has one steepness, a further factor for negatives, and no division. An anchor without a positive,
    or a negative, contributes the other side alone.
    Source: Yi et al., Deep Metric Learning for Practical Person Re-Identification, ICPR 2014.
    """

    def __init__(self, alpha: float = 2.0, beta: float = 40.0, base: float = 0.5, *, chunk: int | None = None) -> None:
        super().__init__(chunk=chunk)
        require_positive(alpha=alpha, beta=beta)
        self.alpha, self.beta, self.base = alpha, beta, base

    def reference(self, similarities: Similarities, positive: PairMask, negative: PairMask) -> PerAnchor:
        """The formula of the class, on the whole matrix."""
        pull = torch.where(positive, softplus(-self.alpha * (similarities - self.base)), 0).sum(1) / self.alpha
        push = torch.where(negative, softplus(self.beta * (similarities - self.base)), 0).sum(1) / self.beta
        near = (negative & (similarities > self.base)).sum(1)
        return pull / positive.sum(1).clamp(min=1) + push / near.clamp(min=1)

    def over(self, chunks: Chunks) -> PerAnchor:
        """Both sides' means."""
        return chunks.positives(self._pull).mean + chunks.negatives(lambda s, _: self._push(s, chunks.spare(s))).mean

    def _pull(self, similarities: Tensor, _: Tensor) -> Part:
        exponents = similarities.sub_(self.base).mul_(-self.alpha)
        return Part(softplus(exponents).sum(1) / self.alpha, exponents.sigmoid(), slope=-1)

    def _push(self, similarities: Tensor, weights: Tensor) -> Part:
        """`weights` is overwritten, first with ones and zeros: on a CPU a mask of bools takes several times as long."""
        near = pair_sum(torch.gt(similarities, self.base, out=weights)).long()
        exponents = similarities.sub_(self.base).mul_(self.beta)
        torch.sigmoid(exponents, out=weights)
        costs = torch.logaddexp(exponents, exponents.new_zeros(()), out=exponents)  # softplus, in place
        return Part(pair_sum(costs) / self.beta, weights, near)
