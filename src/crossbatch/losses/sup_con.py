"""Supervised contrastive loss: every positive against all pairs of the anchor at once."""

import torch
from torch import Tensor

from crossbatch.losses.chunked import Chunks
from crossbatch.losses.pair_loss import PairLoss, require_positive, require_room
from crossbatch.losses.sums import Part, held, log_sum, present
from crossbatch.shapes import PairMask, PerAnchor, Similarities


class SupConLoss(PairLoss):
    """Mean over the positives of `−log(exp(s_pos / T) / Σ_all exp(s / T))`; T: `temperature`.

    The denominator holds all positives and negatives of the anchor (the paper's L_out). A positive nearer than
    `pos_margin`, a cosine, counts as being there and is not pulled (see `NPairLoss`). An anchor without a positive
    contributes 0. Source: Khosla et al., Supervised Contrastive Learning, NeurIPS 2020, equation 2; there
    `pos_margin` is 1.
    """

    def __init__(self, temperature: float = 0.1, pos_margin: float = 0.7, *, chunk: int | None = None) -> None:
        super().__init__(chunk=chunk)
        require_positive(temperature=temperature)
        require_room(pos_margin)
        self.temperature, self.pos_margin = temperature, pos_margin

    def reference(self, similarities: Similarities, positive: PairMask, negative: PairMask) -> PerAnchor:
        """The formula of the class, on the whole matrix."""
        scaled = held(similarities, positive, self.pos_margin) / self.temperature
        everything = torch.where(positive | negative, scaled, -torch.inf).logsumexp(1, keepdim=True)
        return torch.where(positive, everything - scaled, 0).sum(1) / positive.sum(1).clamp(min=1)

    def over(self, chunks: Chunks) -> PerAnchor:
        """Three sums: both sides' for the denominator, and the mean of the positives."""
        scale = 1 / self.temperature
        push = chunks.negatives(lambda s, _: log_sum(s, scale), log=True)
        nearest = self.pos_margin
        pull = chunks.positives(lambda s, _: log_sum(present(s, -torch.inf), scale), log=True, nearest=nearest)
        mean = chunks.positives(self._linear, nearest=nearest).mean
        has = pull.pairs > 0
        everything = torch.logaddexp(torch.where(has, push.value, 0), torch.where(has, pull.value, 0))
        return torch.where(has, everything - mean * scale, 0)

    def _linear(self, similarities: Tensor, _: Tensor) -> Part:
        weights = (similarities < torch.inf).to(similarities)
        return Part(present(similarities, 0.0).sum(1), weights)
