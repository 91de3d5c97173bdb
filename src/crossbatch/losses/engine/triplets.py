"""The cost of a negative: its mean cost over the triplets with the positives of its anchor, which are never listed.

The context holds the similarities of the positives, [anchors, positives], ascending, +∞ where an anchor has fewer.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad

from crossbatch.losses.engine.costs import Block, Costs, Declared, Written
from crossbatch.losses.engine.products import pair_sum, weighted_rows
from crossbatch.losses.engine.sums import Partial
from crossbatch.row_search import pack, places
from crossbatch.shapes import on_cpu

FEW = 32  # up to so many positives per anchor, a loop over positives is faster than a search


@dataclass(frozen=True)
class Triplets(Declared):
    """`margin + s − positive` for each positive below `margin + s`; with `semi_hard`, only for positives above s.

    The cost of a negative is the mean cost of its triplets, and its weight is their number. With `weigh`, each triplet
    is weighted by its cost, and the weight of the negative is the sum of these costs.
    """

    margin: float
    semi_hard: bool = False
    weigh: bool = False

    def __call__(self, s: Tensor, positives: Tensor) -> Costs:
        """Return costs and weights, in plain torch.

        The positives that make triplets with a negative stand side by side in the ascending order, from `first` (or the
        start) to `last`, so cumulative sums give their sums.
        """
        shifted, known = s + self.margin, positives.masked_fill(positives == torch.inf, 0)
        last = torch.searchsorted(positives.detach(), shifted.detach().contiguous())
        first = torch.searchsorted(positives.detach(), s.detach().contiguous(), right=True) if self.semi_hard else None

        def between(values: Tensor) -> Tensor:
            sums = pad(values.cumsum(1), (1, 0))
            up_to_last = sums.gather(1, last)
            return up_to_last if first is None else up_to_last - sums.gather(1, first)

        counts, sums = (last if first is None else last - first).to(s), between(known)
        costs = (counts * shifted - sums).relu()
        if not self.weigh:
            return costs / counts.clamp(min=1), counts
        half = (counts * shifted.square() + between(known.square())) / 2 - shifted * sums  # its derivative is Σ costs
        return (half + half.detach()).relu() / torch.where(costs > 0, costs, 1).detach(), costs

    def add_up(self, anchors: Tensor, block: Block, positives: Tensor) -> Partial:
        """Sum the block: in place on a CPU, by autograd elsewhere."""
        if not on_cpu(anchors):
            return Written(self, easy=-1.0).add_up(anchors, block, positives)
        s = block.similarities.clamp_(min=-2)  # an absent pair is farther than any positive, and finite
        against = self._one_by_one if positives.shape[1] <= FEW else self._among_sorted
        total, weights, by_positives = against(s, positives, block.spare)
        pairs = pair_sum(torch.sign(weights, out=block.spare))
        by_anchors = weighted_rows(weights, block.rows, pairs)
        return Partial(total, pair_sum(weights), pairs, (by_anchors, by_positives))

    def _one_by_one(self, s: Tensor, positives: Tensor, costs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Loop over the positives, in place. This is faster than a search while there are few of them.

        Returns the total, and its derivatives by the negatives and by the positives.
        """
        weights = torch.zeros_like(s)
        total, by_positives = torch.zeros_like(s[:, 0]), torch.zeros_like(positives)
        for place in range(positives.shape[1]):
            positive = positives[:, place, None]
            torch.sub(s, positive - self.margin, out=costs).relu_()
            if self.semi_hard:
                costs.mul_((positive - s).relu_().sign_())
            if not self.weigh:
                total += pair_sum(costs)
                costs.sign_()
            weights += costs
            by_positives[:, place] = -pair_sum(costs)
            if self.weigh:
                total += pair_sum(costs.square_())
        return total, weights, by_positives

    def _among_sorted(self, s: Tensor, positives: Tensor, _: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Compute the same by search, for negatives with a cost alone; later in training these are few.

        A sum over positives that stand side by side is a difference of cumulative sums. Costs are much smaller than
        cosines, so the sums are in double precision.
        """
        column, anchor = torch.gt(s.T, positives[:, 0] - self.margin).nonzero(as_tuple=True)
        near = s.T[column, anchor].double()
        shifted = near + self.margin
        table = pack(positives)
        last = places(table, anchor, shifted)
        first = places(table, anchor, near, right=True) if self.semi_hard else anchor * positives.shape[1]
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
        neighbours = of_negatives(torch.ones_like(shifted))
        if self.weigh:
            totals = shifted * (counts * shifted - 2 * sums) + of_positives(known.square())
            weight, by_positives = costs, known * neighbours - of_negatives(shifted)
        else:
            totals, weight, by_positives = costs, counts, -neighbours
        total = torch.zeros_like(s[:, 0], dtype=torch.float64).index_add_(0, anchor, totals)
        weights = torch.zeros_like(s)
        weights.T[column, anchor] = weight.to(weights)
        return total.to(s), weights, by_positives.view_as(positives).to(s)
