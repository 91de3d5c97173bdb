"""Triplet loss over all valid triplets, the semi-hard ones or the hardest one, without ever listing them."""

from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import pad

from crossbatch.errors import SettingError
from crossbatch.losses.chunked import Chunks
from crossbatch.losses.columns import pair_sum
from crossbatch.losses.pair_loss import PairLoss, require_room
from crossbatch.losses.sums import Part, held, per_mass, weighted_mean
from crossbatch.shapes import PairMask, PerAnchor, Similarities

FEW = 32  # positives of an anchor up to which one at a time is faster than a search among them
APART = 8  # more than cosines and a margin differ by


class TripletLoss(PairLoss):
    """A triplet costs `[margin + s_neg − min(s_pos, pos_margin)]₊`; per anchor the mean over those that cost anything.

    `mining="all"` takes every positive with every negative; `"semi-hard"` those whose negative is farther than the
    positive; `"hard"` the farthest positive with the nearest negative, one triplet an anchor. `margin`: a difference of
    cosines. `pos_margin`: a cosine; a positive nearer than that counts as being there and is not pulled, while
    negatives still are pushed. With `reduction="weighted"` triplets are weighed by their costs, so that thousands of
    mild ones do not hide the few hard ones; the weights are taken as constants in the gradient. `reduction="mean"`
    leaves them out. An anchor without a positive, or without a negative, contributes 0.

    Sources: Schroff et al., FaceNet, CVPR 2015; Hermans et al., In Defense of the Triplet Loss, 2017: there
    `pos_margin` is 1 and the mean plain. Positives that are pulled however near they are leave no room: at batch 64 the
    embeddings of Han characters then lie in some 8 of 128 dimensions. Both defaults were chosen on validation classes.
    """

    def __init__(
        self,
        margin: float = 0.1,
        mining: Literal["all", "semi-hard", "hard"] = "all",
        pos_margin: float = 0.7,
        reduction: Literal["weighted", "mean"] = "weighted",
        *,
        chunk: int | None = None,
    ) -> None:
        super().__init__(chunk=chunk)
        if not 0 < margin < 1:
            raise SettingError(f"margin is a difference of cosines, above 0 and below 1, got {margin}")
        if mining not in ("all", "semi-hard", "hard"):
            raise SettingError(f'mining is "all", "semi-hard" or "hard", got {mining!r}')
        require_room(pos_margin)
        if reduction not in ("weighted", "mean"):
            raise SettingError(f'reduction is "weighted" or "mean", got {reduction!r}')
        self.margin, self.mining, self.pos_margin, self.reduction = margin, mining, pos_margin, reduction

    def reference(self, similarities: Similarities, positive: PairMask, negative: PairMask) -> PerAnchor:
        """The formula of the class, on the whole matrix: anchors × positives × negatives."""
        similarities = held(similarities, positive, self.pos_margin)
        if self.mining == "hard":
            farthest = torch.where(positive, similarities, torch.inf).amin(1)
            nearest = torch.where(negative, similarities, -torch.inf).amax(1)
            return (self.margin + nearest - farthest).relu()
        of_pos, of_neg = similarities[:, :, None], similarities[:, None, :]
        valid = positive[:, :, None] & negative[:, None, :]
        if self.mining == "semi-hard":
            valid &= of_neg < of_pos
        costs = torch.where(valid, self.margin + of_neg - of_pos, 0).relu().flatten(1)
        weights = costs.detach() if self.reduction == "weighted" else (costs > 0).to(costs)
        return weighted_mean(costs, weights)

    def over(self, chunks: Chunks) -> PerAnchor:
        """Every negative against the sorted positives; a block of positives at a time."""
        if self.mining == "hard":
            return self._hardest(chunks)
        total = 0 * chunks.anchors.sum(1)  # without a positive too there is a gradient: of zeros
        mass, negatives = torch.zeros_like(total), torch.zeros_like(total, dtype=torch.int64)
        for similarities in chunks.positive_blocks():
            positives = held(similarities, similarities < torch.inf, self.pos_margin)
            most = int((positives < torch.inf).sum(1).max())
            side = chunks.negatives(
                lambda s, p: self._against(s, p, chunks.spare(s)), positives.sort(1).values[:, :most].contiguous()
            )
            total, mass = total + side.value, mass + side.mass
            # Of two blocks of positives, one's negatives are among the other's; semi-hard ones are a few more in all.
            negatives = torch.maximum(negatives, side.pairs)
        chunks.acted_on |= {"positives": chunks.counts["positives"], "negatives": negatives}
        return per_mass(total, mass)

    def _against(self, similarities: Tensor, positives: Tensor, spare: Tensor) -> Part:
        """Negatives against the positives of their anchor, ascending."""
        similarities = similarities.clamp_(min=-2)  # an absent pair is farther than any positive, and finite
        against = self._against_each if positives.shape[1] <= FEW else self._against_sorted
        total, weights, by_positives = against(similarities, positives, spare)
        active = pair_sum(torch.sign(weights, out=spare)).long()
        return Part(total, weights, active, by_context=by_positives, mass=pair_sum(weights))

    def _against_each(self, similarities: Tensor, positives: Tensor, costs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """One positive after the other, in arithmetic in place, which beats any search while they are few.

        Returns the total, and its derivatives by the negatives and by the positives.
        """
        weights = torch.zeros_like(similarities)
        total, by_positives = torch.zeros_like(similarities[:, 0]), torch.zeros_like(positives)
        for place in range(positives.shape[1]):
            positive = positives[:, place, None]
            torch.sub(similarities, positive - self.margin, out=costs).relu_()
            if self.mining == "semi-hard":
                costs.mul_((positive - similarities).relu_().sign_())
            if self.reduction == "mean":
                total += pair_sum(costs)
                costs.sign_()
            weights += costs
            by_positives[:, place] = -pair_sum(costs)
            if self.reduction == "weighted":
                total += pair_sum(costs.square_())
        return total, weights, by_positives

    def _against_sorted(self, similarities: Tensor, positives: Tensor, _: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The same. Of a negative, the positives in its triplets are neighbours in their order: `first` to `last`.

        Only negatives that cost anything are looked at, which are few after a while. All anchors' positives stand in
        one ascending row, `APART` from anchor to anchor; sums over neighbours are differences of cumulative sums, in
        double precision since costs are small beside cosines.
        """
        column, anchor = torch.gt(similarities.T, positives[:, 0] - self.margin).nonzero(as_tuple=True)
        near = similarities.T[column, anchor].double()
        shifted, row = near + self.margin, APART * anchor
        apart = APART * torch.arange(len(positives), device=positives.device)[:, None]
        ordered = (positives.double().clamp(max=APART / 2) + apart).flatten()
        last = torch.searchsorted(ordered, row + shifted)
        semi = self.mining == "semi-hard"
        first = torch.searchsorted(ordered, row + near, right=True) if semi else anchor * positives.shape[1]
        known = torch.where(positives < torch.inf, positives, 0).double().flatten()

        def of_positives(values: Tensor) -> Tensor:  # summed for each negative
            sums = pad(values.cumsum(0), (1, 0))
            return sums[last] - sums[first]

        def of_negatives(values: Tensor) -> Tensor:  # summed for each positive
            ends = torch.zeros_like(pad(known, (1, 0)))
            ends.index_add_(0, first, values).index_add_(0, last, values, alpha=-1)
            return ends.cumsum(0)[:-1]

        counts, sums = (last - first).double(), of_positives(known)
        costs = (counts * shifted - sums).clamp_(min=0)
        around = of_negatives(torch.ones_like(shifted))
        if self.reduction == "weighted":
            totals = shifted * (counts * shifted - 2 * sums) + of_positives(known.square())
            each, by_positives = costs, known * around - of_negatives(shifted)
        else:
            totals, each, by_positives = costs, counts, -around
        total = torch.zeros_like(similarities[:, 0], dtype=torch.float64).index_add_(0, anchor, totals)
        weights = torch.zeros_like(similarities)
        weights.T[column, anchor] = each.to(weights)
        return total.to(similarities), weights, by_positives.view_as(positives).to(similarities)

    def _hardest(self, chunks: Chunks) -> PerAnchor:
        farthest, nearest = chunks.least_positive()[:, None], chunks.greatest_negative()[:, None]
        pull = chunks.positives(lambda s, _: _pick(s, farthest))
        push = chunks.negatives(lambda s, _: _pick(s, nearest))
        both = (pull.pairs > 0) & (push.pairs > 0)
        return torch.where(both, self.margin + push.mean - pull.mean.clamp(max=self.pos_margin), 0).relu()


def _pick(similarities: Tensor, extreme: Tensor) -> Part:
    """The pairs that are the extreme one, to the last bit: several share it evenly."""
    found = (similarities == extreme) & similarities.isfinite()
    return Part(torch.where(found, similarities, 0).sum(1), found.to(similarities), found.sum(1))
