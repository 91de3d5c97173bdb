"""Generalized lifted structure loss: all positives of an anchor against all its negatives."""

import torch
from torch.nn.functional import relu

from crossbatch.losses.chunked import Chunks
from crossbatch.losses.pair_loss import PairLoss, require_positive, require_room
from crossbatch.losses.sums import log_sum
from crossbatch.shapes import PairMask, PerAnchor, Similarities


class LiftedStructureLoss(PairLoss):
    """`[log Σ_pos exp(γ [pos_margin − s]₊) + log Σ_neg exp(γ (s − neg_margin))]₊ / γ`; γ: `scale`.

    Both margins are cosines; a positive nearer than `pos_margin` is not pulled (see `NPairLoss`). The generalized form,
    of each anchor rather than each pair, on cosine in place of distance. An anchor without a positive, or without a
    negative, contributes 0. Sources: Oh Song et al., CVPR 2016; Hermans et al., 2017, equation 8; there `pos_margin`
    is 1, and does not bound the pull.
    """

    def __init__(
        self, scale: float = 16.0, pos_margin: float = 0.7, neg_margin: float = 0.5, *, chunk: int | None = None
    ) -> None:
        super().__init__(chunk=chunk)
        require_positive(scale=scale)
        require_room(pos_margin)
        self.scale, self.pos_margin, self.neg_margin = scale, pos_margin, neg_margin

    def reference(self, similarities: Similarities, positive: PairMask, negative: PairMask) -> PerAnchor:
        """The formula of the class, on the whole matrix."""
        pull = torch.where(positive, self.scale * (self.pos_margin - similarities).relu(), -torch.inf).logsumexp(1)
        push = torch.where(negative, self.scale * (similarities - self.neg_margin), -torch.inf).logsumexp(1)
        return relu(pull + push) / self.scale

    def over(self, chunks: Chunks) -> PerAnchor:
        """The logarithm of each side's sum."""
        scale = self.scale
        pull = chunks.positives(lambda s, _: log_sum(s, -scale, self.pos_margin), log=True, nearest=self.pos_margin)
        push = chunks.negatives(lambda s, _: log_sum(s, scale, self.neg_margin), log=True)
        return relu(pull.value + push.value) / scale
