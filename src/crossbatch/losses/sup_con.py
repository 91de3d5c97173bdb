"""Supervised contrastive loss: every positive against all pairs of the anchor at once."""

import torch
from torch import Tensor

from crossbatch.losses.chunked import Chunks
from crossbatch.losses.pair_loss import PairLoss, require_positive
from crossbatch.losses.sums import Part, log_sum
from crossbatch.shapes import PairMask, PerAnchor, Similarities


class SupConLoss(PairLoss):
    """Mean over the positives of `−log(exp(s_pos / T) / Σ_all exp(s / T))`; T: `temperature`.

    The denominator holds all positives and negatives of the anchor (the paper's L_out). An anchor without a
    positive contributes 0. Source: Khosla et al., Supervised Contrastive Learning, NeurIPS 2020, equation 2.
    """

    def __init__(self, temperature: float = 0.1, *, chunk: int | None = None) -> None:
        super().__init__(chunk=chunk)
        require_positive(temperature=temperature)
        self.temperature = temperature

    def reference(self, similarities: Similarities, positive: PairMask, negative: PairMask) -> PerAnchor:
        """The formula of the class, on the whole matrix."""
        scaled = similarities / self.temperature
        everything = torch.where(positive | negative, scaled, -torch.inf).logsumexp(1, keepdim=True)
        return torch.where(positive, everything - scaled, 0).sum(1) / positive.sum(1).clamp(min=1)

    def over(self, chunks: Chunks) -> PerAnchor:
        """Three sums: both sides' for the denominator, and the mean of the positives."""
        scale = 1 / self.temperature
        push = chunks.negatives(lambda s, _: log_sum(s, scale), log=True)
        pull = chunks.positives(lambda s, _: log_sum(_absent(s, -torch.inf), scale), log=True)
        mean = chunks.positives(self._linear).mean
        has = pull.pairs > 0
        everything = torch.logaddexp(torch.where(has, push.value, 0), torch.where(has, pull.value, 0))
        return torch.where(has, everything - mean * scale, 0)

    def _linear(self, similarities: Tensor, _: Tensor) -> Part:
        weights = (similarities < torch.inf).to(similarities)
        return Part(_absent(similarities, 0.0).sum(1), weights)


def _absent(similarities: Tensor, value: float) -> Tensor:
    """Put a value in place of the pairs that are not positive."""
    return similarities.masked_fill_(similarities == torch.inf, value)
