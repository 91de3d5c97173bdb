"""Triplet loss over all valid triplets, the semi-hard ones or the hardest one, without ever listing them."""

from typing import Literal

import torch
from torch import Tensor

from crossbatch.errors import SettingError
from crossbatch.losses.chunked import Chunks
from crossbatch.losses.columns import pair_sum
from crossbatch.losses.pair_loss import PairLoss
from crossbatch.losses.sums import Part
from crossbatch.shapes import PairMask, PerAnchor, Similarities

FEW = 32  # positives of an anchor up to which one at a time is faster than a search among them


class TripletLoss(PairLoss):
    """A triplet costs `[margin + s_neg − s_pos]₊`; per anchor the mean over the triplets that cost anything.

    `mining="all"` takes every positive with every negative; `"semi-hard"` those whose negative is farther than the
    positive; `"hard"` the farthest positive with the nearest negative, one triplet an anchor. `margin`: a difference of
    cosines. An anchor without a positive, or without a negative, contributes 0.

    Sources: Schroff et al., FaceNet, CVPR 2015; Hermans et al., In Defense of the Triplet Loss, 2017.
    """

    def __init__(
        self, margin: float = 0.1, mining: Literal["all", "semi-hard", "hard"] = "all", *, chunk: int | None = None
    ) -> None:
        super().__init__(chunk=chunk)
        if not 0 < margin < 1:
            raise SettingError(f"margin is a difference of cosines, above 0 and below 1, got {margin}")
        if mining not in ("all", "semi-hard", "hard"):
            raise SettingError(f'mining is "all", "semi-hard" or "hard", got {mining!r}')
        self.margin, self.mining = margin, mining

    def reference(self, similarities: Similarities, positive: PairMask, negative: PairMask) -> PerAnchor:
        """The formula of the class, on the whole matrix: anchors × positives × negatives."""
        if self.mining == "hard":
            farthest = torch.where(positive, similarities, torch.inf).amin(1)
            nearest = torch.where(negative, similarities, -torch.inf).amax(1)
            return (self.margin + nearest - farthest).relu()
        of_pos, of_neg = similarities[:, :, None], similarities[:, None, :]
        valid = positive[:, :, None] & negative[:, None, :]
        if self.mining == "semi-hard":
            valid &= of_neg < of_pos
        costs = torch.where(valid, self.margin + of_neg - of_pos, 0).relu().flatten(1)
        return costs.sum(1) / (costs > 0).sum(1).clamp(min=1)

    def over(self, chunks: Chunks) -> PerAnchor:
        """Every negative against the sorted positives; a block of positives at a time."""
        if self.mining == "hard":
            return self._hardest(chunks)
        total = triplets = 0 * chunks.anchors.sum(1)  # without a positive too there is a gradient: of zeros
        for positives in chunks.positive_blocks():
            most = int((positives < torch.inf).sum(1).max())
            side = chunks.negatives(
                lambda s, p: self._against(s, p, chunks.spare(s)), positives.sort(1).values[:, :most].contiguous()
            )
            total, triplets = total + side.value, triplets + side.pairs
        return total / triplets.clamp(min=1)

    def _against(self, similarities: Tensor, positives: Tensor, costs: Tensor) -> Part:
        """Negatives against the positives of their anchor, ascending."""
        similarities = similarities.clamp_(min=-2)  # an absent pair is farther than any positive, and finite
        if positives.shape[1] <= FEW:
            return self._against_each(similarities, positives, costs)
        return self._against_sorted(similarities.contiguous(), positives)

    def _against_each(self, similarities: Tensor, positives: Tensor, costs: Tensor) -> Part:
        """One positive after the other, in arithmetic in place, which beats any search while they are few."""
        weights = torch.zeros_like(similarities)
        total, by_context = torch.zeros_like(similarities[:, 0]), torch.zeros_like(positives)
        for place in range(positives.shape[1]):
            positive = positives[:, place, None]
            torch.sub(similarities, positive - self.margin, out=costs).relu_()
            if self.mining == "semi-hard":
                costs.mul_((positive - similarities).relu_().sign_())
            total += pair_sum(costs)
            weights += costs.sign_()
            by_context[:, place] = -pair_sum(costs)
        return Part(total, weights, pair_sum(weights).long(), by_context=by_context)

    def _against_sorted(self, similarities: Tensor, positives: Tensor) -> Part:
        """Of a negative, the positives in its triplets are neighbours in their order: those from `first` to `last`.

        Sums over them are differences of cumulative sums; what each positive gets is counted by where those end.
        """
        shifted = similarities + self.margin
        sums = torch.where(positives < torch.inf, positives, 0).cumsum(1)
        sums = torch.cat([torch.zeros_like(sums[:, :1]), sums], 1)
        last = torch.searchsorted(positives, shifted)
        total, counts, ends = -sums.gather(1, last), last, _histogram(last, sums)
        if self.mining == "semi-hard":
            first = torch.searchsorted(positives, similarities, right=True)
            total, counts, ends = total + sums.gather(1, first), last - first, ends - _histogram(first, sums)
        weights = counts.to(similarities)
        beyond = ends.flip(1).cumsum(1).flip(1)[:, 1:]  # negatives whose range ends after each positive
        return Part((total + weights * shifted).sum(1), weights, counts.sum(1), by_context=-beyond.to(similarities))

    def _hardest(self, chunks: Chunks) -> PerAnchor:
        farthest, nearest = chunks.least_positive()[:, None], chunks.greatest_negative()[:, None]
        pull = chunks.positives(lambda s, _: _pick(s, farthest))
        push = chunks.negatives(lambda s, _: _pick(s, nearest))
        both = (pull.pairs > 0) & (push.pairs > 0)
        return torch.where(both, self.margin + push.mean - pull.mean, 0).relu()


def _histogram(places: Tensor, like: Tensor) -> Tensor:
    """How often each place occurs, by anchor."""
    counts = torch.zeros_like(like, dtype=torch.int64)
    return counts.scatter_add_(1, places, torch.ones_like(places))


def _pick(similarities: Tensor, extreme: Tensor) -> Part:
    """The pairs that are the extreme one: several share it evenly."""
    found = (similarities == extreme) & similarities.isfinite()
    return Part(torch.where(found, similarities, 0).sum(1), found.to(similarities), found.sum(1))
