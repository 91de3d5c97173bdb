"""Multi-similarity loss with its mining: weigh each pair by how hard it is among the others."""

import torch
from torch import Tensor
from torch.nn.functional import softplus

from crossbatch.losses.chunked import Chunks
from crossbatch.losses.columns import pair_max, pair_sum
from crossbatch.losses.pair_loss import PairLoss, require_positive
from crossbatch.losses.sums import Part, is_known, log_sum
from crossbatch.shapes import PairMask, PerAnchor, Similarities


class MultiSimilarityLoss(PairLoss):
    """`log(1 + Σ_pos exp(−α(s − λ))) / α + log(1 + Σ_neg exp(β(s − λ))) / β` over mined pairs.

    Mining keeps the negatives above (least positive − ε) and the positives below (greatest negative + ε),
    per anchor. An anchor without a positive, or without a negative, has nothing to mine against and
    contributes 0, as in the authors' code. `alpha`, `beta`: steepness; `base` (λ): a cosine;
    `epsilon` (ε): a difference of cosines.

    Source: Wang et al., Multi-Similarity Loss with General Pair Weighting, CVPR 2019, equations 11 to 15.
    """

    def __init__(
        self,
        alpha: float = 2.0,
        beta: float = 50.0,
        base: float = 0.5,
        epsilon: float = 0.1,
        *,
        chunk: int | None = None,
    ) -> None:
        super().__init__(chunk=chunk)
        require_positive(alpha=alpha, beta=beta)
        self.alpha, self.beta, self.base, self.epsilon = alpha, beta, base, epsilon

    def reference(self, similarities: Similarities, positive: PairMask, negative: PairMask) -> PerAnchor:
        """The formula of the class, on the whole matrix."""
        floor = torch.where(positive, similarities, torch.inf).amin(1, keepdim=True) - self.epsilon
        ceiling = torch.where(negative, similarities, -torch.inf).amax(1, keepdim=True) + self.epsilon
        pull = torch.where(positive & (similarities < ceiling), -self.alpha * (similarities - self.base), -torch.inf)
        push = torch.where(negative & (similarities > floor), self.beta * (similarities - self.base), -torch.inf)
        return softplus(pull.logsumexp(1)) / self.alpha + softplus(push.logsumexp(1)) / self.beta

    def over(self, chunks: Chunks) -> PerAnchor:
        """The logarithm of each side's sum, over the negatives first: their greatest bounds the positives."""
        floor = (chunks.least_positive() - self.epsilon)[:, None]

        push = chunks.negatives(lambda s, _: self._part(s, floor, self.beta, chunks.spare(s)), log=True)
        ceiling = (push.extreme + self.epsilon)[:, None]
        pull = chunks.positives(lambda s, _: self._part(s, ceiling, -self.alpha, chunks.spare(s)), log=True)
        return softplus(pull.value) / self.alpha + softplus(push.value) / self.beta

    def _part(self, similarities: Tensor, bound: Tensor, slope: float, mined: Tensor) -> Part:
        """Negatives above the bound, or, where the slope is negative, positives below it; `mined` is overwritten."""
        above = slope > 0
        extreme = pair_max(similarities) if above else None
        # Ones and zeros as floats: on a CPU a mask of bools takes several times as long.
        (torch.gt if above else torch.lt)(similarities, bound, out=mined)
        pairs = pair_sum(mined)
        absent = torch.where(pairs > 0, 0, -torch.inf)  # to a scale: what an empty sum has
        if is_known(pairs) and not pairs.any():
            return Part(pairs, None, pairs.long(), slope, absent, extreme=extreme)
        part = log_sum(similarities, slope, self.base, mined=mined)
        scale = absent if part.scale is None else absent + part.scale
        return part._replace(pairs=pairs.long(), scale=scale, extreme=extreme)
