"""N-pair and NT-Xent: each positive against all negatives at once."""

import torch
from torch import Tensor
from torch.nn.functional import softplus

from crossbatch.losses.chunked import Chunks
from crossbatch.losses.pair_loss import PairLoss, require_positive, require_room
from crossbatch.losses.sums import Part, held, log_sum
from crossbatch.shapes import PairMask, PerAnchor, Similarities


def tuplet_reference(
    similarities: Similarities, positive: PairMask, negative: PairMask, scale: float, pos_margin: float
) -> PerAnchor:
    """Mean over the positives of `log(1 + Σ_neg exp(scale (s_neg − min(s_pos, pos_margin))))`, on the whole matrix."""
    scaled = scale * held(similarities, positive, pos_margin)
    push = torch.where(negative, scaled, -torch.inf).logsumexp(1, keepdim=True)
    return torch.where(positive, softplus(push - scaled), 0).sum(1) / positive.sum(1).clamp(min=1)


def tuplet_over(chunks: Chunks, scale: float, pos_margin: float) -> PerAnchor:
    """The same: the negatives' logarithm of Σ exp first, which then is the context of each positive."""

    def positives(similarities: Tensor, push: Tensor) -> Part:
        exponents = push[:, None] - scale * similarities
        weights = exponents.sigmoid()
        return Part(softplus(exponents).sum(1), weights, slope=-scale, by_context=weights.sum(1))

    push = chunks.negatives(lambda s, _: log_sum(s, scale), log=True)
    return chunks.positives(positives, push.value, nearest=pos_margin).mean


class NTXentLoss(PairLoss):
    """Mean over the positives of `−log(exp(s_pos / T) / (exp(s_pos / T) + Σ_neg exp(s_neg / T)))`; T: `temperature`.

    Also called InfoNCE. The denominator holds one positive, never the others. A positive nearer than `pos_margin`, a
    cosine, counts as being there and is not pulled (see `NPairLoss`). An anchor without a positive, or without a
    negative, contributes 0. Sources: van den Oord et al., 2018; Chen et al., ICML 2020; there `pos_margin` is 1.
    """

    def __init__(self, temperature: float = 0.1, pos_margin: float = 0.7, *, chunk: int | None = None) -> None:
        super().__init__(chunk=chunk)
        require_positive(temperature=temperature)
        require_room(pos_margin)
        self.temperature, self.pos_margin = temperature, pos_margin

    def reference(self, similarities: Similarities, positive: PairMask, negative: PairMask) -> PerAnchor:
        """The formula of the class, on the whole matrix."""
        return tuplet_reference(similarities, positive, negative, 1 / self.temperature, self.pos_margin)

    def over(self, chunks: Chunks) -> PerAnchor:
        """Negatives, then each positive against them."""
        return tuplet_over(chunks, 1 / self.temperature, self.pos_margin)


class NPairLoss(PairLoss):
    """Mean over the positives of `log(1 + Σ_neg exp(γ (s_neg − s_pos)))`; γ: `scale`.

    The (N+1)-tuplet loss; here every positive of the anchor makes a tuplet with every negative, and cosine with a
    scale takes the place of inner product with a penalty on length. It equals NT-Xent with T = 1 / γ. A positive nearer
    than `pos_margin`, a cosine, counts as being there and is not pulled: positives that are pulled however near they
    are leave no room, of 128 dimensions embeddings of characters then fill 8 to 10. The 0.7 was chosen on validation
    classes; in the paper it is 1. An anchor without a positive, or without a negative, contributes 0.
    Source: Sohn, NeurIPS 2016, equation 6.
    """

    def __init__(self, scale: float = 16.0, pos_margin: float = 0.7, *, chunk: int | None = None) -> None:
        super().__init__(chunk=chunk)
        require_positive(scale=scale)
        require_room(pos_margin)
        self.scale, self.pos_margin = scale, pos_margin

    def reference(self, similarities: Similarities, positive: PairMask, negative: PairMask) -> PerAnchor:
        """The formula of the class, on the whole matrix."""
        return tuplet_reference(similarities, positive, negative, self.scale, self.pos_margin)

    def over(self, chunks: Chunks) -> PerAnchor:
        """Negatives, then each positive against them."""
        return tuplet_over(chunks, self.scale, self.pos_margin)
