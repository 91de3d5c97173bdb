"""Triplet loss over all triplets, the semi-hard ones or the hardest one, without listing them."""

from typing import Literal

import torch
from torch import Tensor

from crossbatch.errors import SettingError
from crossbatch.losses.engine.sides import Streamed
from crossbatch.losses.engine.triplets import Triplets
from crossbatch.losses.engine.whole import Whole
from crossbatch.losses.pair_loss import Above, Costs, PairLoss, Sums, require_number
from crossbatch.shapes import on_cpu


class TripletLoss(PairLoss):
    """A triplet costs `[margin + s_neg − s_pos]₊`; an anchor, the mean over its triplets that cost more than 0.

    An anchor without a positive, or without a negative, contributes 0.
    Sources: Schroff et al., FaceNet, CVPR 2015; Hermans et al., In Defense of the Triplet Loss, 2017.

    Args:
        margin: A difference of cosines.
        mining: all takes every positive with every negative; semi-hard only triplets whose negative is farther than
            the positive; hard the farthest positive with the nearest negative, one triplet per anchor.
        weigh: cost weights each triplet by its cost, a constant in the gradient, so that thousands of mild triplets
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
        """Cost of a negative over its triplets, given the sorted positives."""
        return Triplets(self.margin, self.mining == "semi-hard", self.weigh == "cost")

    def over(self, sides: Whole | Streamed) -> Tensor:
        """Loss of each anchor: all its negatives against its sorted positives, a block of positives at a time."""
        require_number(margin=self.margin)
        if self.mining == "hard":
            return self._hardest(sides)
        total = weight = positives = negatives = torch.zeros_like(sides.anchors[:, 0])
        for similarities in sides.positive_similarities():
            present, room = similarities < torch.inf, self.room
            capped = torch.where(present, similarities.clamp(max=room), torch.inf) if room < 1 else similarities
            positive_block = capped.sort(1).values
            if on_cpu(positive_block):  # a GPU would wait for the maximum, so there columns without a positive stay
                positive_block = positive_block[:, : int(present.sum(1).max())].contiguous()
            sums = sides.negatives(self.negative, positive_block)
            total, weight, positives = total + sums.total, weight + sums.weight, positives + present.sum(1)
            # Of two blocks of positives, the negatives that count for one are a subset of those for the other, so the
            # maximum is the number for both. With semi-hard mining the true number is a little greater.
            negatives = torch.maximum(negatives, sums.pairs)
        self.tell(positives, negatives)
        return total / torch.where(weight > 0, weight, 1)

    def positive(self, s: Tensor, negatives: Sums) -> Costs:
        """Zero: `Triplets`, the cost of a negative, already includes its positives."""
        return 0 * s

    def _hardest(self, sides: Whole | Streamed) -> Tensor:
        nearest = sides.negatives(Above(2.0), nearest=True).nearest
        pull, push = sides.positives(_equal, sides.farthest), sides.negatives(_equal, nearest)
        self.tell(pull.pairs, push.pairs)
        both = (pull.pairs > 0) & (push.pairs > 0)
        return torch.where(both, self.margin + push.mean - pull.mean.clamp(max=self.room), 0).relu()


def _equal(s: Tensor, extreme: Tensor) -> Costs:
    """Similarity as the cost; only pairs that equal the extreme to the last bit count, so ties share it evenly."""
    return s, s == extreme[:, None]
