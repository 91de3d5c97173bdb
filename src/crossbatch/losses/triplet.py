"""Triplet loss over all valid triplets, the semi-hard ones or the hardest one, without ever listing them."""

from typing import Literal

import torch
from torch import Tensor

from crossbatch.errors import SettingError
from crossbatch.losses.engine.sides import Streamed
from crossbatch.losses.engine.triplets import Triplets
from crossbatch.losses.engine.whole import Whole
from crossbatch.losses.pair_loss import Above, Costs, PairLoss, Sums
from crossbatch.shapes import on_cpu


class TripletLoss(PairLoss):
    """A triplet costs `[margin + s_neg − s_pos]₊`; per anchor the mean over those that cost something.

    An anchor without a positive, or without a negative, contributes 0.
    Sources: Schroff et al., FaceNet, CVPR 2015; Hermans et al., In Defense of the Triplet Loss, 2017.

    Args:
        margin: A difference of cosines.
        mining: all takes every positive with every negative; semi-hard those whose negative is farther than the
            positive; hard the farthest positive with the nearest negative, one triplet an anchor.
        weigh: cost weighs triplets by their costs, taken as constants in the gradient, so that thousands of mild ones
            do not hide the few hard ones.
        room: A cosine; a positive above it counts as if at it and gets no gradient, while negatives are still pushed.
    """

    def __init__(
        self,
        margin: float = 0.1,
        mining: Literal["all", "semi-hard", "hard"] = "all",
        weigh: Literal["cost"] | None = None,
        *,
        room: float = 1.0,
    ) -> None:
        super().__init__(room=room)
        if not 0 < margin < 1:
            raise SettingError(f"margin is a difference of cosines, above 0 and below 1, got {margin}")
        if mining not in ("all", "semi-hard", "hard"):
            raise SettingError(f'mining is "all", "semi-hard" or "hard", got {mining!r}')
        if weigh not in (None, "cost"):
            raise SettingError(f'weigh is "cost" or None, got {weigh!r}')
        self.margin, self.mining, self.weigh = margin, mining, weigh

    @property
    def negative(self) -> Triplets:
        """What a negative costs in its triplets, given the sorted positives."""
        return Triplets(self.margin, self.mining == "semi-hard", self.weigh == "cost")

    def over(self, sides: Whole | Streamed) -> Tensor:
        """All negatives against the sorted positives, a block of these at a time."""
        if self.mining == "hard":
            return self._hardest(sides)
        total = weight = positives = acted_on = torch.zeros_like(sides.farthest)
        for similarities in sides.positive_similarities():
            there = similarities < torch.inf
            held = torch.where(there, similarities.clamp(max=self.room), torch.inf).sort(1).values
            if on_cpu(held):  # on a GPU the columns of absent positives stay
                held = held[:, : int(there.sum(1).max())].contiguous()
            found = sides.negatives(self.negative, held)
            total, weight, positives = total + found.total, weight + found.weight, positives + there.sum(1)
            # Of two blocks of positives, one's negatives are among the other's; semi-hard ones are a few more in all.
            acted_on = torch.maximum(acted_on, found.pairs)
        self.tell(positives, acted_on)
        return total / torch.where(weight > 0, weight, 1)

    def positive(self, s: Tensor, negatives: Sums) -> Costs:
        """Nothing: what a positive costs is in the triplets of the negatives."""
        return 0 * s

    def _hardest(self, sides: Whole | Streamed) -> Tensor:
        nearest = sides.negatives(Above(2.0), nearest=True).nearest
        pull, push = sides.positives(_equal, sides.farthest), sides.negatives(_equal, nearest)
        self.tell(pull.pairs, push.pairs)
        both = (pull.pairs > 0) & (push.pairs > 0)
        return torch.where(both, self.margin + push.mean - pull.mean.clamp(max=self.room), 0).relu()


def _equal(s: Tensor, extreme: Tensor) -> Costs:
    """The pairs that are the extreme one, to the last bit: several share it evenly."""
    return s, s == extreme[:, None]
