"""The chunked form of every loss: one block of similarities at a time, the gradient found on the way.

Positives are few and known at once, so they are gathered by class; everything else streams by in chunks,
with the positive and the ignored pairs masked out. A side of an anchor is a sum over its pairs,
so its gradient, Σ weight · row, adds up beside the sum and never needs the whole matrix.
"""

from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any, NamedTuple

import torch
from torch import Tensor

from crossbatch.losses.pairing import Pairing
from crossbatch.losses.precision import multiplies

Block = tuple[Tensor | slice, Tensor, Tensor]  # columns, their rows, similarities


class Part(NamedTuple):
    """What one block of columns adds to a side of each anchor.

    `total`: Σ g(s) over the block, times exp(−`scale`) in log space, where −∞ is an empty sum. `slope` × `weights`:
    its derivative by each similarity (None: all zero). `pairs`: how many the loss acts on (None: all there are).
    `by_context`: its derivative by the context. `extreme`: the greatest similarity, for mining.
    """

    total: Tensor
    weights: Tensor | None
    pairs: Tensor | None = None
    slope: float = 1.0
    scale: Tensor | None = None
    by_context: Tensor | None = None
    extreme: Tensor | None = None


Take = Callable[[Tensor, Tensor], Part]


class Side(NamedTuple):
    """A side of each anchor: its value (in log space: the logarithm of the sum), differentiable; pairs; extreme."""

    value: Tensor
    pairs: Tensor
    extreme: Tensor

    @property
    def mean(self) -> Tensor:
        """Value ÷ pairs; 0 without one."""
        return self.value / self.pairs.clamp(min=1)


class Sum(NamedTuple):
    """A side so far: what its blocks' parts add up to, and the derivatives of the total. All per anchor."""

    total: Tensor
    scale: Tensor
    direction: Tensor
    by_context: Tensor
    pairs: Tensor | None
    extreme: Tensor


def merge(left: Sum, right: Sum) -> Sum:
    """The sum of two disjoint sets of columns; associative."""
    scale = torch.maximum(left.scale, right.scale)
    a, b = _factor(left.scale, scale), _factor(right.scale, scale)
    return Sum(
        left.total * a + right.total * b,
        scale,
        left.direction * a[:, None] + right.direction * b[:, None],
        left.by_context * _like(a, left.by_context) + right.by_context * _like(b, right.by_context),
        None if left.pairs is None or right.pairs is None else left.pairs + right.pairs,
        torch.maximum(left.extreme, right.extreme),
    )


class Chunks:
    """The pairs of unit anchors with unit references, for a loss to sum over without ever holding the matrix.

    A loss gives `take(similarities, context)`, which may overwrite the similarities it gets; they are +∞ where a pair
    is not positive, −∞ where it is not negative. `context` is anything per anchor, and gets its gradient.
    """

    def __init__(self, anchors: Tensor, refs: Tensor, pairing: Pairing, chunk: int) -> None:
        self.anchors, self.refs, self.pairing, self.chunk = anchors, refs, pairing, chunk
        of_class, self.special = pairing.special_columns()
        self.of_class = [columns for columns in of_class.split(chunk) if len(columns)]
        self.acted_on: dict[str, Tensor] = {}  # pairs of each anchor that the last sum of a side acted on

    def positives(self, take: Take, context: Tensor | None = None, *, log: bool = False) -> Side:
        """Sum over the positives of each anchor."""
        return self._side("positives", take, context, log)

    def negatives(self, take: Take, context: Tensor | None = None, *, log: bool = False) -> Side:
        """Sum over the negatives of each anchor."""
        return self._side("negatives", take, context, log)

    @cached_property
    def counts(self) -> dict[str, Tensor]:
        """How many positives and negatives each anchor has."""
        positives, others = torch.zeros(2, len(self.anchors), dtype=torch.int64, device=self.anchors.device)
        for columns in self.special.split(self.chunk):
            positive, ignored = self.pairing.masks(columns)
            positives, others = positives + positive.sum(1), others + (positive | ignored).sum(1)
        return {"positives": positives, "negatives": len(self.refs) - others}

    @torch.no_grad()
    def least_positive(self) -> Tensor:
        """Similarity of the farthest positive, +∞ without one; a bound for mining, without gradient."""
        least = self.anchors.new_full((len(self.anchors),), torch.inf)
        for _, _, similarities in _positives(self, self.anchors, self.refs):
            least = torch.minimum(least, similarities.amin(1))
        return least

    @torch.no_grad()
    def greatest_negative(self) -> Tensor:
        """Similarity of the nearest negative, −∞ without one; a bound for mining, without gradient."""
        greatest = self.anchors.new_full((len(self.anchors),), -torch.inf)
        for _, _, similarities in _negatives(self, self.anchors, self.refs):
            greatest = torch.maximum(greatest, similarities.amax(1))
        return greatest

    def positive_blocks(self) -> Iterator[Tensor]:
        """Similarities of the positives, differentiable, +∞ where a pair is not positive; a chunk of columns each."""
        for columns in self.of_class:
            positive, _ = self.pairing.masks(columns)
            yield _product(self.anchors, self.refs[columns].to(self.anchors)).masked_fill(~positive, torch.inf)

    def _side(self, name: str, take: Take, context: Tensor | None, log: bool) -> Side:
        given = self.anchors.new_empty(len(self.anchors), 0) if context is None else context
        blocks = _positives if name == "positives" else _negatives
        side = Side(*_Sided.apply(self.anchors, self.refs, given, self, blocks, take, log))
        self.acted_on[name] = self.counts[name] if side.pairs is None else side.pairs
        return side._replace(pairs=self.acted_on[name])


Blocks = Callable[[Chunks, Tensor, Tensor], Iterator[Block]]


def _positives(chunks: Chunks, anchors: Tensor, refs: Tensor) -> Iterator[Block]:
    for columns in chunks.of_class:
        rows = refs[columns].to(anchors)
        positive, _ = chunks.pairing.masks(columns)
        yield columns, rows, _product(anchors, rows).masked_fill_(~positive, torch.inf)


def _negatives(chunks: Chunks, anchors: Tensor, refs: Tensor) -> Iterator[Block]:
    starts = range(0, len(refs), chunks.chunk)
    edges = torch.tensor([*starts, len(refs)], device=chunks.special.device)
    bounds = torch.searchsorted(chunks.special, edges).tolist()
    # Rows stored in half precision are multiplied in it where the device can: half the bytes, and faster.
    left = anchors.to(refs.dtype) if multiplies(refs.dtype, refs.device) else anchors
    for start, first, last in zip(starts, bounds, bounds[1:], strict=False):
        columns = slice(start, start + chunks.chunk)
        rows = refs[columns].to(left)
        similarities = _product(left, rows).to(anchors)
        if first < last:
            special = chunks.special[first:last]
            positive, ignored = chunks.pairing.masks(special)
            similarities[:, special - start] = similarities[:, special - start].masked_fill_(
                positive | ignored, -torch.inf
            )
        yield columns, rows, similarities


def _product(anchors: Tensor, rows: Tensor) -> Tensor:
    with torch.autocast(anchors.device.type, enabled=False):
        return anchors @ rows.T


class _Sided(torch.autograd.Function):
    """Forward finds the sum and its derivatives by the anchors and the context; backward only scales them.

    The gradient by the references, needed rarely, is found by a second look at each block.
    """

    @staticmethod
    def forward(
        ctx: Any, anchors: Tensor, refs: Tensor, context: Tensor, chunks: Chunks, blocks: Blocks, take: Take, log: bool
    ) -> tuple[Tensor, Tensor | None, Tensor]:
        with torch.autocast(anchors.device.type, enabled=False):
            side = _fold(anchors, context, log, blocks(chunks, anchors, refs), take)
        # What turns the derivative of the total into that of the value: 1 ÷ total for a logarithm.
        inverse = torch.where(side.total > 0, 1 / side.total, 0) if log else torch.ones_like(side.total)
        ctx.save_for_backward(anchors, refs, context, side.scale, inverse)
        ctx.direction = side.direction * inverse[:, None]
        ctx.by_context = side.by_context * _like(inverse, context)
        ctx.chunks, ctx.blocks, ctx.take = chunks, blocks, take
        ctx.mark_non_differentiable(*(out for out in (side.pairs, side.extreme) if out is not None))
        return side.scale + side.total.log() if log else side.total, side.pairs, side.extreme

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, by_value: Tensor, *_: Any) -> tuple[Tensor | None, ...]:
        grad_refs = _Sided._by_refs(ctx, by_value) if ctx.needs_input_grad[1] else None
        by_context = _like(by_value, ctx.by_context) * ctx.by_context
        return by_value[:, None] * ctx.direction, grad_refs, by_context, None, None, None, None

    @staticmethod
    def _by_refs(ctx: Any, by_value: Tensor) -> Tensor:
        anchors, refs, context, scale, inverse = ctx.saved_tensors
        grad = torch.zeros_like(refs, dtype=anchors.dtype)
        by_total = by_value * inverse
        with torch.autocast(anchors.device.type, enabled=False):
            for columns, _, similarities in ctx.blocks(ctx.chunks, anchors, refs):
                part = ctx.take(similarities, context)
                if part.weights is not None:
                    factor = by_total if part.scale is None else by_total * _factor(part.scale, scale)
                    grad[columns] += (part.weights * (part.slope * factor)[:, None]).T @ anchors
        return grad.to(refs.dtype)


def _fold(anchors: Tensor, context: Tensor, log: bool, blocks: Iterator[Block], take: Take) -> Sum:
    zero = anchors.new_zeros(len(anchors))
    none = torch.full_like(zero, -torch.inf)
    total = Sum(zero, none if log else zero, torch.zeros_like(anchors), torch.zeros_like(context), zero.long(), none)
    for _, rows, similarities in blocks:
        part = take(similarities, context)
        direction = torch.zeros_like(anchors)
        if part.weights is not None:
            direction = (part.weights.to(rows) @ rows).to(anchors).mul_(part.slope)
        total = merge(
            total,
            Sum(
                part.total,
                zero if part.scale is None else part.scale,
                direction,
                torch.zeros_like(context) if part.by_context is None else part.by_context,
                part.pairs,
                none if part.extreme is None else part.extreme,
            ),
        )
    return total


def log_sum(exponents: Tensor, slope: float = 1.0, pairs: Tensor | None = None) -> Part:
    """The part that sums exp(exponents), where their derivative by each similarity is `slope`; they are overwritten."""
    scale = exponents.amax(1)
    terms = exponents.sub_(torch.where(scale == -torch.inf, 0, scale)[:, None]).exp_()
    return Part(terms.sum(1), terms, pairs, slope, scale)


def _factor(scale: Tensor, new: Tensor) -> Tensor:
    """exp(scale − new), and 0 for an empty sum: −∞ less −∞ is not a number."""
    return torch.where(scale == -torch.inf, 0, (scale - new).exp())


def _like(per_anchor: Tensor, other: Tensor) -> Tensor:
    """A vector with as many dimensions as another tensor per anchor."""
    return per_anchor.view(-1, *[1] * (other.dim() - 1))
