"""Contrastive loss: pull positives together, push negatives that are closer than a margin."""

from typing import Literal

import torch
from torch import Tensor

from crossbatch.errors import SettingError
from crossbatch.losses.chunked import Chunks
from crossbatch.losses.pair_loss import PairLoss
from crossbatch.losses.sums import Part
from crossbatch.shapes import PairMask, PerAnchor, Similarities


class ContrastiveLoss(PairLoss):
    """Positives cost `pos_margin − s` below `pos_margin`; negatives cost `s − neg_margin` above `neg_margin`.

    Both margins are cosines. Per anchor, `reduction="balanced"` takes the mean over the active positives plus
    the mean over the active negatives (active: with a cost above zero), so that thousands of stale negatives
    weigh no more than a few positives. `reduction="sum"` adds them all up, as the authors of XBM do: the
    gradient is theirs, the value lower by `neg_margin` for each active negative. An anchor without a
    positive, or without an active negative, contributes the other side alone.

    Source: Hadsell et al., CVPR 2006, in the cosine form of Wang et al., CVPR 2020.
    """

    def __init__(
        self,
        neg_margin: float = 0.5,
        pos_margin: float = 1.0,
        reduction: Literal["balanced", "sum"] = "balanced",
        *,
        chunk: int | None = None,
    ) -> None:
        super().__init__(chunk=chunk)
        if not -1 <= neg_margin < pos_margin <= 1:
            raise SettingError(
                f"margins are cosines with -1 <= neg_margin < pos_margin <= 1, got {neg_margin} and {pos_margin}"
            )
        if reduction not in ("balanced", "sum"):
            raise SettingError(f'reduction is "balanced" or "sum", got {reduction!r}')
        self.neg_margin, self.pos_margin, self.reduction = neg_margin, pos_margin, reduction

    def reference(self, similarities: Similarities, positive: PairMask, negative: PairMask) -> PerAnchor:
        """The formula of the class, on the whole matrix."""
        pull = torch.where(positive, self.pos_margin - similarities, 0).relu()
        push = torch.where(negative, similarities - self.neg_margin, 0).relu()
        if self.reduction == "sum":
            return pull.sum(1) + push.sum(1)
        return pull.sum(1) / (pull > 0).sum(1).clamp(min=1) + push.sum(1) / (push > 0).sum(1).clamp(min=1)

    def over(self, chunks: Chunks) -> PerAnchor:
        """Both sides, as sums or means."""
        pull = chunks.positives(lambda s, _: self._part(s, chunks.spare(s), self.pos_margin, -1))
        push = chunks.negatives(lambda s, _: self._part(s, chunks.spare(s), self.neg_margin, 1))
        if self.reduction == "sum":
            return pull.value + push.value
        return pull.mean + push.mean

    def _part(self, similarities: Tensor, active: Tensor, margin: float, slope: int) -> Part:
        """Costs `slope · (s − margin)` above 0: those of negatives above the margin, of positives below it.

        `active` is overwritten, with ones and zeros as floats: on a CPU a mask of bools takes several times as long.
        """
        (torch.gt if slope > 0 else torch.lt)(similarities, margin, out=active)
        return Part(None, active, active.sum(1).long(), slope, offset=-slope * margin)
