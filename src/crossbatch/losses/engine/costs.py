"""Costs of pairs: how one block of pairs adds to the sums of a side (the positives or the negatives of each anchor).

A cost is a function of similarities [anchors, columns] and of a context per anchor. It returns one of these:

* `costs`: pairs that cost more than 0 count;
* `(costs, weights)`: each pair counts by its weight;
* `(costs, None)`: every pair counts.

`Above` and `Exponent` are declared costs: the engine computes their sums in place, and the plain form of a loss calls
them as functions. Any other function becomes a `Written` cost, which autograd differentiates.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from crossbatch.errors import SettingError, ShapeError
from crossbatch.losses.engine.products import pair_max, pair_sum, weighted_rows
from crossbatch.losses.engine.sums import Partial
from crossbatch.shapes import on_cpu

Costs = Tensor | tuple[Tensor, Tensor | None]
Cost = Callable[..., Costs]
Columns = Tensor | slice
Absent = tuple[Tensor, Tensor] | Tensor  # anchors and columns, or a mask [anchors or 1, columns]
LEAST = -1e30  # in place of −∞, since −∞ − (−∞) is not a number
SAFE = 70.0  # exp(±70), summed over millions of pairs, is within the range of float32


class Block(NamedTuple):
    """Similarities of the anchors with some columns, −∞ where a pair is absent from the side.

    `similarities` and `spare`, a second matrix of the same shape, may be overwritten. `nearest`: the greatest
    similarity of each anchor in this block, if requested.
    """

    columns: Columns
    rows: Tensor
    similarities: Tensor
    absent: tuple[Absent, ...]
    spare: Tensor
    nearest: Tensor | None = None

    def put(self, value: float, matrix: Tensor) -> Tensor:
        """Write a value to the absent pairs of a matrix, in place; return the matrix."""
        for absent in self.absent:
            if isinstance(absent, Tensor):
                matrix.masked_fill_(absent, value)
            else:
                matrix.index_put_(absent, matrix.new_tensor(value))
        return matrix

    @property
    def pairs(self) -> Tensor:
        """Number of present pairs of each anchor, [anchors]."""
        anchors, columns = self.similarities.shape
        present = self.similarities.new_full((anchors,), columns)
        for absent in self.absent:
            present -= absent.sum(1) if isinstance(absent, Tensor) else absent[0].bincount(minlength=anchors)
        return present


class Declared:
    """A cost that sums a block itself: `add_up(anchors, block, *context) -> Partial`.

    `log`: the sum is Σ exp(cost), and the total of the side is its logarithm.
    """

    log: bool = False
    add_up: Callable[..., Partial]
    __call__: Callable[..., Costs]

    @property
    def is_learnt(self) -> bool:
        """Whether one of its numbers is a parameter of the loss."""
        return any(isinstance(value, Tensor) and value.requires_grad for value in vars(self).values())

    def reads(self, anchors: Tensor, context: Sequence[Tensor], parameters: Sequence[Tensor]) -> Sequence[Tensor]:
        """Return those parameters of the loss that the cost uses directly, and not by way of the context."""
        return ()


@dataclass(frozen=True)
class Above(Declared):
    """`s − margin` for pairs above the margin; with `weigh`, each pair is weighted by its cost."""

    margin: float | Tensor
    weigh: bool = False

    def __call__(self, s: Tensor) -> Costs:
        """Return the costs, with weights if `weigh` is set."""
        costs = (s - self.margin).relu()
        return (costs, costs) if self.weigh else costs

    def add_up(self, anchors: Tensor, block: Block) -> Partial:
        """Sum the block. One small product gives the total from the derivative with respect to the anchors."""
        s, none = block.similarities, torch.zeros_like(anchors[:, 0])
        if self.weigh and on_cpu(s) and bool(s.amax() <= self.margin):  # true of most blocks late in training
            return Partial(none, none, none)
        # Ones and zeros as floats: on a CPU a mask of bools takes several times as long.
        weights = torch.gt(s, self.margin, out=block.spare)
        weight = pairs = pair_sum(weights)
        if on_cpu(s) and not bool(pairs.any()):
            return Partial(none, none, none)
        if self.weigh:
            weights = torch.sub(s, self.margin, out=block.spare).relu_()
            weight = pair_sum(weights)
        by_anchors = weighted_rows(weights, block.rows, pairs)
        if block.rows.dtype == anchors.dtype:
            # Only rounding makes this negative.
            total = ((anchors * by_anchors).sum(1) - self.margin * weight).clamp_(min=0)
        else:  # rows in half precision make the product too coarse to derive the total from
            total = pair_sum(s.sub_(self.margin).relu_().mul_(weights))
        return Partial(total, weight, pairs, (by_anchors,))


@dataclass(frozen=True)
class Exponent(Declared):
    """`scale · (s − base)`, summed as an exponent; with a context, only pairs above that similarity count."""

    scale: float | Tensor
    base: float | Tensor = 0.0
    log: ClassVar[bool] = True  # type: ignore[misc]

    def __post_init__(self) -> None:
        if not isinstance(self.scale, Tensor) and self.scale <= 0:  # reading a tensor would wait for a GPU
            raise SettingError(f"the scale of an Exponent must be above 0, got {self.scale}")

    def __call__(self, s: Tensor, floor: Tensor | None = None) -> Costs:
        """Return the costs, and a mask of the pairs above the floor or None."""
        return self.scale * (s - self.base), None if floor is None else s > floor[:, None]

    def add_up(self, anchors: Tensor, block: Block, floor: Tensor | None = None) -> Partial:
        """Sum exponentials, written over the similarities. Where they may overflow, subtract the greatest first."""
        scale, base = float(self.scale), float(self.base)
        s, mined, top = block.similarities, None, None
        if floor is not None:
            mined = torch.gt(s, floor[:, None], out=block.spare)
        pairs = block.pairs if mined is None else pair_sum(mined)
        if scale * (1 + abs(base)) <= SAFE:
            terms, by = s.mul_(scale).exp_(), math.exp(-scale * base)
        else:
            most = (pair_max(s) if block.nearest is None else block.nearest).clamp(min=LEAST)
            top, by = scale * (most - base), 1.0
            if on_cpu(s) and not bool(pairs.any()):
                return Partial(pairs, pairs, pairs, top=top)
            terms = torch.add(-scale * most[:, None], s, alpha=scale, out=s).exp_()
        terms = terms if mined is None else terms.mul_(mined)
        by_anchors = weighted_rows(terms, block.rows, None if mined is None else pairs).mul_(scale * by)
        return Partial(pair_sum(terms) * by, pairs, pairs, (by_anchors,), top)


@dataclass(frozen=True)
class Written(Declared):
    """A cost written as any function; autograd differentiates it, a block at a time.

    `easy`: the similarity at which a pair of this side costs least. Absent pairs take this value while costs are
    computed.
    """

    cost: Cost
    easy: float
    log: bool = False

    def __call__(self, s: Tensor, *context: Tensor) -> Costs:
        """Return the costs, with weights if the function gives them."""
        return self.cost(s, *context)

    def reads(self, anchors: Tensor, context: Sequence[Tensor], parameters: Sequence[Tensor]) -> Sequence[Tensor]:
        """Find the parameters by a trial run on one similarity per anchor."""
        if not parameters:
            return ()
        s = torch.zeros_like(anchors[:, :1])
        costs, *_ = parted(self.cost(s, *(value.detach() for value in context)), s)
        if not costs.requires_grad:
            return ()
        gradients = torch.autograd.grad(costs.sum(), parameters, allow_unused=True)
        return [parameter for parameter, gradient in zip(parameters, gradients, strict=True) if gradient is not None]

    def add_up(self, anchors: Tensor, block: Block, *context: Tensor) -> Partial:
        """Return the sums of the block with their derivatives by the anchors and the context."""
        s = block.put(self.easy, block.similarities).requires_grad_()
        leaves, top = [value.detach().requires_grad_() for value in context], None
        with torch.enable_grad():
            terms, weights, costly = parted(self.cost(s, *leaves), s)
            weights = None if weights is None else weights.to(terms.dtype)
            if self.log:
                top = pair_max(block.put(-torch.inf, terms.detach().clone()))
                terms = terms - torch.where(top > -torch.inf, top, torch.inf)[:, None]
                block.put(-torch.inf, terms.detach())  # an absent pair may cost more than `top`
                terms = terms.exp_()
            terms = terms if weights is None else terms * weights
        costly &= not self.log
        counted = torch.gt(terms.detach(), 0, out=block.spare) if costly else block.spare.fill_(1.0)
        block.put(0.0, counted)
        by: tuple[Tensor | None, ...] = (None,) * (1 + len(leaves))
        if terms.requires_grad:
            by = torch.autograd.grad(terms, [s, *leaves], counted, allow_unused=True)
        by_anchors = None if by[0] is None else weighted_rows(by[0], block.rows)
        # With a single column these derivatives can share memory with `spare`, which is overwritten below: copy them.
        kept = (None if derivative is None else derivative.clone() for derivative in by[1:])
        # Written into a matrix that is not read again. `s` is not safe for this when it is also the weights.
        total = pair_sum(torch.mul(terms.detach(), counted, out=(s if weights is None else terms).detach()))
        weight = pairs = pair_sum(counted)
        if weights is not None:
            weight, pairs = pair_sum(counted.mul_(weights)), pair_sum(counted.sign_())
        return Partial(total, weight, pairs, (by_anchors, *kept), top)


def parted(found: Costs, s: Tensor) -> tuple[Tensor, Tensor | None, bool]:
    """Split the result of a cost into costs, weights or a mask, and whether only pairs that cost more than 0 count."""
    for tensor in (found,) if isinstance(found, Tensor) else found:
        if tensor is not None and (not isinstance(tensor, Tensor) or tensor.shape != s.shape):
            shape = list(tensor.shape) if isinstance(tensor, Tensor) else repr(tensor)
            raise ShapeError(
                f"costs and weights must have the shape of s, {list(s.shape)} here, got {shape}: one for each pair"
            )
    if isinstance(found, Tensor):
        return found, None, True
    costs, weights = found
    return costs, None if weights is None else weights.detach(), False
