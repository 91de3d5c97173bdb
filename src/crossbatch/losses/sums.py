"""Sums over the pairs of each anchor: what one block of columns adds, and how two sums become one."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from crossbatch.losses.columns import pair_max, pair_sum


class Part(NamedTuple):
    """What one block of columns adds to a side of each anchor.

    `total`: Σ g(s) over the block, times exp(−`scale`) in log space, where −∞ is an empty sum. `slope` × `weights`:
    its derivative by each similarity, weights at least 0 (None: all 0). `pairs`: how many the loss acts on (None: all
    there are). `by_context`: its derivative by the context. `extreme`: the greatest similarity, for mining. `mass`:
    Σ weights, for a loss that divides by it; None where that is `pairs`. Where g is linear, or a weight times what is,
    `total` is None, for Σ slope · weight · s + `offset` · mass: the first is had from the derivative by the anchors,
    for the price of one product with these; the similarities must then be as they were.
    """

    total: Tensor | None
    weights: Tensor | None
    pairs: Tensor | None = None
    slope: float = 1.0
    scale: Tensor | None = None
    by_context: Tensor | None = None
    extreme: Tensor | None = None
    offset: float = 0.0
    mass: Tensor | None = None


class Sum(NamedTuple):
    """A side so far: what its blocks' parts add up to, and the derivatives of the total; None is nothing yet.

    `scale` is None for plain sums. `pairs` is None where all pairs of the side count.
    """

    total: Tensor
    scale: Tensor | None = None
    direction: Tensor | None = None
    by_context: Tensor | None = None
    pairs: Tensor | None = None
    extreme: Tensor | None = None
    mass: Tensor | None = None


def is_known(values: Tensor) -> bool:
    """Whether a branch may ask what is in them: on a GPU that would wait for all the work before it."""
    return values.device.type == "cpu"


def merge(left: Sum, right: Sum) -> Sum:
    """The sum of two disjoint sets of columns; associative."""
    pairs = None if left.pairs is None or right.pairs is None else left.pairs + right.pairs
    extreme = _both(torch.maximum, left.extreme, right.extreme)
    scale = left.scale
    if left.scale is not None and right.scale is not None and not _known_equal(left.scale, right.scale):
        scale = torch.maximum(left.scale, right.scale)
        left, right = _scaled(left, factor(left.scale, scale)), _scaled(right, factor(right.scale, scale))
    direction = _both(torch.add, left.direction, right.direction)
    by_context = _both(torch.add, left.by_context, right.by_context)
    mass = _both(torch.add, left.mass, right.mass)
    return Sum(left.total + right.total, scale, direction, by_context, pairs, extreme, mass)


def _known_equal(left: Tensor, right: Tensor) -> bool:
    return is_known(left) and left.equal(right)


def active_part(costs: Tensor, slope: float = 1.0) -> Part:
    """The part that sums the costs above 0, which move by `slope` with the similarity; they are overwritten.

    Signs rather than comparisons: on a CPU a mask of bools takes ten times as long as arithmetic in place.
    """
    if is_known(costs) and costs.amax() <= 0:
        none = torch.zeros_like(costs[:, 0])
        return Part(none, None, none.long())
    total = pair_sum(costs.relu_())
    active = costs.sign_()
    return Part(total, active, pair_sum(active).long(), slope)


LEAST = -1e30  # in place of −∞, which less itself is not a number
SAFE = 70.0  # exp of it, of either sign, summed over millions of pairs, is within float32


def log_sum(
    similarities: Tensor, slope: float = 1.0, base: float = 0.0, bound: float = 1.0, mined: Tensor | None = None
) -> Part:
    """The part that sums exp(slope · (s − base)) over all pairs; the similarities are overwritten with the weights.

    Where no finite one is beyond ±`bound`, 1 for cosines, so that exp cannot overflow, no greatest one is looked for.
    `mined`, ones and zeros, leaves pairs out.
    """
    if abs(slope) * bound <= SAFE:
        terms = _mined((similarities if slope == 1 else similarities.mul_(slope)).exp_(), mined)
        return Part(pair_sum(terms), terms, slope=slope, scale=terms.new_full((len(terms),), -slope * base))
    extreme = pair_max(similarities) if slope > 0 else similarities.amin(1)
    finite = extreme.clamp(LEAST, -LEAST)[:, None]
    terms = _mined(torch.add(-slope * finite, similarities, alpha=slope, out=similarities).exp_(), mined)
    return Part(pair_sum(terms), terms, slope=slope, scale=slope * (extreme - base))


def _mined(terms: Tensor, mined: Tensor | None) -> Tensor:
    return terms if mined is None else terms.mul_(mined)


def factor(scale: Tensor, new: Tensor) -> Tensor:
    """exp(scale − new), and 0 for an empty sum: −∞ less −∞ is not a number."""
    return (scale - new).exp_().nan_to_num_(0.0)


def _scaled(side: Sum, by: Tensor) -> Sum:
    return side._replace(
        total=side.total * by,
        direction=None if side.direction is None else side.direction * by[:, None],
        by_context=None if side.by_context is None else side.by_context * per_anchor_like(by, side.by_context),
        mass=None if side.mass is None else side.mass * by,
    )


def _both(operation: Callable[[Tensor, Tensor], Tensor], left: Tensor | None, right: Tensor | None) -> Tensor | None:
    if left is None or right is None:
        return right if left is None else left
    return operation(left, right)


def held(similarities: Tensor, positive: Tensor, pos_margin: float) -> Tensor:
    """All similarities; a positive nearer than `pos_margin` counts as being there."""
    return torch.where(positive, similarities.clamp(max=pos_margin), similarities)


def present(similarities: Tensor, absent: float) -> Tensor:
    """Similarities of positives, with a value in place of the +∞ of the other pairs; they are overwritten."""
    return similarities.masked_fill_(similarities == torch.inf, absent)


def weighted_mean(costs: Tensor, weights: Tensor) -> Tensor:
    """The mean of the costs of each anchor, [anchors, pairs], by weights; 0 without one."""
    return per_mass((weights * costs).sum(1), weights.sum(1))


def per_mass(total: Tensor, mass: Tensor) -> Tensor:
    """Total ÷ mass; 0 where both are."""
    return total / torch.where(mass > 0, mass, 1)


def per_anchor_like(per_anchor: Tensor, other: Tensor) -> Tensor:
    """A vector with as many dimensions as another tensor per anchor."""
    return per_anchor.view(-1, *[1] * (other.dim() - 1))
