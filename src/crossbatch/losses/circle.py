"""Circle loss: each pair at its own pace, the faster the farther it is from where it should be."""

import torch
from torch import Tensor
from torch.nn.functional import softplus

from crossbatch.errors import SettingError
from crossbatch.losses.chunked import Chunks
from crossbatch.losses.pair_loss import PairLoss
from crossbatch.losses.sums import Part, log_sum
from crossbatch.shapes import PairMask, PerAnchor, Similarities


class CircleLoss(PairLoss):
    """`log(1 + Σ_neg exp(γ αₙ (s − m)) · Σ_pos exp(−γ αₚ (s − 1 + m)))`, with `αₙ = [s + m]₊`, `αₚ = [1 + m − s]₊`.

    γ: `scale`; m: `margin`, a difference of cosines. The paces α are taken as constants in the gradient, as in the
    paper's equation 10. An anchor without a positive, or without a negative, contributes 0.
    Source: Sun et al., Circle Loss, CVPR 2020.
    """

    def __init__(self, margin: float = 0.4, scale: float = 80.0, *, chunk: int | None = None) -> None:
        super().__init__(chunk=chunk)
        if scale <= 0 or not 0 <= margin < 1:
            raise SettingError(f"scale must be above 0 and 0 <= margin < 1, got scale={scale} and margin={margin}")
        self.margin, self.scale = margin, scale

    def reference(self, similarities: Similarities, positive: PairMask, negative: PairMask) -> PerAnchor:
        """The formula of the class, on the whole matrix."""
        m, constant = self.margin, similarities.detach()
        pull = -self.scale * (1 + m - constant).relu() * (similarities - 1 + m)
        push = self.scale * (constant + m).relu() * (similarities - m)
        return softplus(
            torch.where(positive, pull, -torch.inf).logsumexp(1) + torch.where(negative, push, -torch.inf).logsumexp(1)
        )

    def over(self, chunks: Chunks) -> PerAnchor:
        """The logarithm of each side's sum."""
        pull = chunks.positives(lambda s, _: self._part(s.neg_().add_(1), chunks.spare(s), -1, 2), log=True)
        push = chunks.negatives(lambda s, _: self._part(s, chunks.spare(s), 1, 1), log=True)
        return softplus(pull.value + push.value)

    def _part(self, similarities: Tensor, pace: Tensor, slope: float, greatest: float) -> Part:
        """Of negatives; what s is to a negative, 1 − s is to a positive. `pace` is overwritten."""
        # γ · α. A pace of nothing, rather than 0, leaves the exponent of an absent pair at −∞.
        margin = similarities.new_full((), self.margin * self.scale)  # where they are: a GPU need not wait
        torch.add(margin, similarities, alpha=self.scale, out=pace).clamp_(min=1e-30)
        exponents = similarities.sub_(self.margin).mul_(pace)
        bound = self.scale * max(greatest**2 - self.margin**2, self.margin**2)
        part = log_sum(exponents, bound=bound)  # overwrites them with its terms
        return part._replace(weights=pace.mul_(exponents), slope=slope)
