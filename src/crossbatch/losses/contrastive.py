"""Contrastive loss: pull positives together, push negatives that are closer than a margin."""

from typing import Literal

from torch import Tensor

from crossbatch.errors import SettingError
from crossbatch.losses.pair_loss import Above, PairLoss, Sums


class ContrastiveLoss(PairLoss):
    """Positives cost `1 − s`, negatives `s − neg_margin` above the margin, a cosine.

    The loss of an anchor is the mean over its positives that cost more than 0, plus the mean over its negatives that
    cost more than 0. A side without such a pair adds 0.
    Source: Hadsell et al., CVPR 2006, in the cosine form of Wang et al., CVPR 2020.

    Args:
        neg_margin: A cosine; negatives above it are pushed.
        reduction: mean; or sum, which adds up all pairs, as the code of XBM's authors does: the gradient is theirs, the
            value is lower by `neg_margin` for each negative above it.
        weigh: cost weights each negative in the mean by its cost, a constant in the gradient, so that thousands of
            mild negatives do not hide the few hard ones.
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
            way_out = "" if room == 1 else ": give a greater room with it, at most 1 (the recommended room is 0.7)"
            raise SettingError(
                f"neg_margin is a cosine, at least -1 and below room, got {neg_margin} and {room}{way_out}"
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
        """Add both means, or both sums."""
        return positives.total + negatives.total if self.reduction == "sum" else positives.mean + negatives.mean
