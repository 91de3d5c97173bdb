"""Contrastive loss: pull positives together, push negatives that are closer than a margin."""

from typing import Literal

from torch import Tensor

from crossbatch.errors import SettingError
from crossbatch.losses.pair_loss import Above, PairLoss, Sums


class ContrastiveLoss(PairLoss):
    """Positives cost `1 − s`, negatives `s − neg_margin` above the margin, a cosine.

    Per anchor the mean over the positives that cost something, plus that over the negatives that do.
    An anchor without a pair that costs something on one side contributes the other side alone.
    Source: Hadsell et al., CVPR 2006, in the cosine form of Wang et al., CVPR 2020.

    Args:
        neg_margin: A cosine; negatives above it are pushed.
        reduction: mean; or sum, which adds all pairs up, as the authors of XBM do: with their gradient, and a value
            lower by `neg_margin` for each negative above it.
        weigh: cost weighs negatives in their mean by their costs, taken as constants in the gradient, so that
            thousands of mild negatives do not hide the few hard ones.
        room: A cosine; positives above it leave the mean.
    """

    def __init__(
        self,
        neg_margin: float = 0.5,
        reduction: Literal["mean", "sum"] = "mean",
        weigh: Literal["cost"] | None = None,
        *,
        room: float = 1.0,
    ) -> None:
        super().__init__(room=room)
        if not -1 <= neg_margin < room:
            raise SettingError(
                f"neg_margin is a cosine, at least -1 and below room, got {neg_margin} and {room}: "
                "give a greater room with it, at most 1 (the recommended room is 0.7)"
            )
        if reduction not in ("mean", "sum") or weigh not in (None, "cost") or (weigh and reduction == "sum"):
            raise SettingError(
                f'reduction is "mean" or "sum", weigh is None or, of a mean, "cost"; got {reduction!r} and {weigh!r}'
            )
        self.neg_margin, self.reduction, self.weigh = neg_margin, reduction, weigh

    @property
    def negative(self) -> Above:
        """`s − neg_margin` above the margin."""
        return Above(self.neg_margin, self.weigh == "cost")

    def positive(self, s: Tensor, negatives: Sums) -> Tensor:
        """`1 − s`."""
        return 1 - s

    def combine(self, positives: Sums, negatives: Sums) -> Tensor:
        """Means, or sums."""
        return positives.total + negatives.total if self.reduction == "sum" else positives.mean + negatives.mean
