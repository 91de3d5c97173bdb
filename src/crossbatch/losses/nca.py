"""Neighbourhood component analysis: the share of an anchor's neighbours, softly counted, that are of its class."""

import torch
from torch.nn.functional import softplus

from crossbatch.losses.chunked import Chunks
from crossbatch.losses.pair_loss import PairLoss, require_positive, require_room
from crossbatch.losses.sums import held, log_sum, present
from crossbatch.shapes import PairMask, PerAnchor, Similarities


class NCALoss(PairLoss):
    """`−log(Σ_pos exp(γ s) / Σ_all exp(γ s))`; γ: `scale`.

    On unit vectors the paper's exp(−d²) is this with γ = 2, but for a constant. A positive nearer than `pos_margin`, a
    cosine, counts as being there and is not pulled (see `NPairLoss`). An anchor without a positive contributes 0.
    Source: Goldberger et al., NeurIPS 2004; the logarithm as in their section 2.1; there `pos_margin` is 1.
    """

    def __init__(self, scale: float = 16.0, pos_margin: float = 0.7, *, chunk: int | None = None) -> None:
        super().__init__(chunk=chunk)
        require_positive(scale=scale)
        require_room(pos_margin)
        self.scale, self.pos_margin = scale, pos_margin

    def reference(self, similarities: Similarities, positive: PairMask, negative: PairMask) -> PerAnchor:
        """The formula of the class, on the whole matrix."""
        scaled = self.scale * held(similarities, positive, self.pos_margin)
        pull = torch.where(positive, scaled, -torch.inf).logsumexp(1)
        push = torch.where(negative, scaled, -torch.inf).logsumexp(1)
        return _share(pull, push, positive.any(1))

    def over(self, chunks: Chunks) -> PerAnchor:
        """The logarithm of each side's sum."""
        scale = self.scale
        push = chunks.negatives(lambda s, _: log_sum(s, scale), log=True)
        pull = chunks.positives(lambda s, _: log_sum(present(s, -torch.inf), scale), log=True, nearest=self.pos_margin)
        return _share(pull.value, push.value, pull.pairs > 0)


def _share(pull: PerAnchor, push: PerAnchor, has: torch.Tensor) -> PerAnchor:
    return torch.where(has, softplus(torch.where(has, push, 0) - torch.where(has, pull, 0)), 0)
