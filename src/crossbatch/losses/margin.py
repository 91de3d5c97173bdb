"""Margin loss: a learnt distance parts positives from negatives."""

import torch
from torch import Tensor, nn

from crossbatch.errors import SettingError
from crossbatch.losses.chunked import Chunks
from crossbatch.losses.pair_loss import PairLoss
from crossbatch.losses.sums import Part, active_part, weighted_mean
from crossbatch.shapes import PairMask, PerAnchor, Similarities

SHORTEST = 0.01  # distances below have no gradient: that of a square root grows without bound towards 0


class MarginLoss(PairLoss):
    """Positives cost `[margin + d − β]₊`, negatives `[margin + β − d]₊`, with d the Euclidean distance of unit vectors.

    Per anchor the mean over the active positives plus that over the active negatives; the paper takes one mean over
    all pairs, which thousands of negatives would swamp. β, the `beta` given at the start, is learnt: it is a parameter,
    saved with the loss; the paper can also have one for each class and image, and hold them down by a further term. A
    distance below 0.01 counts as 0.01. An anchor without a positive, or without an active negative, contributes the
    other side alone.
    Source: Wu et al., Sampling Matters in Deep Embedding Learning, ICCV 2017, without their sampling.
    """

    def __init__(self, margin: float = 0.2, beta: float = 1.2, *, chunk: int | None = None) -> None:
        super().__init__(chunk=chunk)
        if margin < 0 or beta <= 0:
            raise SettingError(f"margin must not be negative and beta above 0, got {margin} and {beta}")
        self.margin, self.beta = margin, nn.Parameter(torch.tensor(float(beta)))

    def reference(self, similarities: Similarities, positive: PairMask, negative: PairMask) -> PerAnchor:
        """The formula of the class, on the whole matrix."""
        distances, beta = _distance(similarities), self.beta.to(similarities)
        pull = torch.where(positive, self.margin + distances - beta, 0).relu()
        push = torch.where(negative, self.margin + beta - distances, 0).relu()
        return weighted_mean(pull, (pull > 0).to(pull)) + weighted_mean(push, (push > 0).to(push))

    def over(self, chunks: Chunks) -> PerAnchor:
        """Both sides' means; β is their context."""
        beta = self.beta.to(chunks.anchors).expand(len(chunks.anchors))
        return chunks.positives(self._pull, beta).mean + chunks.negatives(self._push, beta).mean

    def _pull(self, similarities: Tensor, beta: Tensor) -> Part:
        absent = similarities == torch.inf
        distances = _distance(similarities).masked_fill_(absent, -torch.inf)
        return self._part(self.margin + distances - beta[:, None], distances, -1)

    def _push(self, similarities: Tensor, beta: Tensor) -> Part:
        distances = _distance(similarities)
        return self._part(self.margin + beta[:, None] - distances, distances, 1)

    @staticmethod
    def _part(costs: Tensor, distances: Tensor, sign: int) -> Part:
        part = active_part(costs, sign)
        if part.weights is None or part.pairs is None:
            return part
        moving = (distances - SHORTEST).sign_()  # 0 where the distance was clamped
        by_beta = sign * part.pairs.to(distances)
        return part._replace(weights=part.weights.mul(moving).div_(distances), by_context=by_beta)


def _distance(similarities: Tensor) -> Tensor:
    """Of unit vectors, from their cosine."""
    return (2 - 2 * similarities).clamp(min=SHORTEST**2).sqrt()
