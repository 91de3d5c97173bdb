"""Contrastive loss: pull positives together, push negatives that are closer than a margin."""

from typing import Literal

import torch
from torch import Tensor

from crossbatch.errors import SettingError
from crossbatch.losses.chunked import Chunks
from crossbatch.losses.columns import pair_sum
from crossbatch.losses.pair_loss import PairLoss
from crossbatch.losses.sums import Part, is_known, weighted_mean
from crossbatch.shapes import PairMask, PerAnchor, Similarities


class ContrastiveLoss(PairLoss):
    """Positives cost `pos_margin − s` below `pos_margin`; negatives cost `s − neg_margin` above `neg_margin`.

    Both margins are cosines; a pair is active where it has a cost. Per anchor, `reduction="weighted"` takes the mean
    over the active positives plus that over the active negatives, these weighed by their costs: thousands of negatives
    weigh no more than a few positives, and do not hide the few hard ones among them. The weights are taken as constants
    in the gradient. `reduction="balanced"` leaves them out. `reduction="sum"` adds all pairs up, as the authors of XBM
    do: with `pos_margin=1` the gradient is theirs, the value lower by `neg_margin` for each active negative. An anchor
    without an active positive, or without an active negative, contributes the other side alone.

    Source: Hadsell et al., CVPR 2006, in the cosine form of Wang et al., CVPR 2020, where `pos_margin` is 1. Positives
    that are pulled until they coincide leave no room: at batch 64 the embeddings then lie in some 11 of 128 dimensions.
    The 0.7 here, a margin as Musgrave et al. (ECCV 2020) search for too, was chosen on validation classes.
    """

    def __init__(
        self,
        neg_margin: float = 0.5,
        pos_margin: float = 0.7,
        reduction: Literal["weighted", "balanced", "sum"] = "weighted",
        *,
        chunk: int | None = None,
    ) -> None:
        super().__init__(chunk=chunk)
        if not -1 <= neg_margin < pos_margin <= 1:
            raise SettingError(
                f"margins are cosines with -1 <= neg_margin < pos_margin <= 1, got {neg_margin} and {pos_margin}"
            )
        if reduction not in ("weighted", "balanced", "sum"):
            raise SettingError(f'reduction is "weighted", "balanced" or "sum", got {reduction!r}')
        self.neg_margin, self.pos_margin, self.reduction = neg_margin, pos_margin, reduction

    def reference(self, similarities: Similarities, positive: PairMask, negative: PairMask) -> PerAnchor:
        """The formula of the class, on the whole matrix."""
        pull = torch.where(positive, self.pos_margin - similarities, 0).relu()
        push = torch.where(negative, similarities - self.neg_margin, 0).relu()
        if self.reduction == "sum":
            return pull.sum(1) + push.sum(1)
        weights = push.detach() if self.reduction == "weighted" else (push > 0).to(push)
        return weighted_mean(pull, (pull > 0).to(pull)) + weighted_mean(push, weights)

    def over(self, chunks: Chunks) -> PerAnchor:
        """Both sides, as sums or means."""
        pull = chunks.positives(lambda s, _: self._part(s, chunks.spare(s), self.pos_margin, -1))
        if self.reduction == "weighted":
            push = chunks.negatives(lambda s, _: self._weighted(s, chunks.spare(s)))
            return pull.mean + push.weighted_mean
        push = chunks.negatives(lambda s, _: self._part(s, chunks.spare(s), self.neg_margin, 1))
        if self.reduction == "sum":
            return pull.value + push.value
        return pull.mean + push.mean

    def _part(self, similarities: Tensor, active: Tensor, margin: float, slope: int) -> Part:
        """Costs `slope · (s − margin)` above 0: those of negatives above the margin, of positives below it.

        `active` is overwritten, with ones and zeros as floats: on a CPU a mask of bools takes several times as long.
        """
        (torch.gt if slope > 0 else torch.lt)(similarities, margin, out=active)
        return Part(None, active, pair_sum(active).long(), slope, offset=-slope * margin)

    def _weighted(self, similarities: Tensor, active: Tensor) -> Part:
        """Costs of negatives, each times itself; `active` is overwritten."""
        if is_known(similarities) and similarities.amax() <= self.neg_margin:  # as in most chunks, late
            none = torch.zeros_like(similarities[:, 0])
            return Part(none, None, none.long(), mass=none)
        pairs = pair_sum(torch.gt(similarities, self.neg_margin, out=active)).long()
        costs = torch.sub(similarities, self.neg_margin, out=active).relu_()
        return Part(None, costs, pairs, offset=-self.neg_margin, mass=pair_sum(costs))
