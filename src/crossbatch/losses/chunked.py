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

from crossbatch.losses import cache
from crossbatch.losses.columns import pair_max, product, weighted_sum
from crossbatch.losses.pairing import Pairing
from crossbatch.losses.precision import multiplies
from crossbatch.losses.sums import Part, Sum, factor, held, is_known, merge, per_anchor_like, per_mass

Block = tuple[Tensor | slice, Tensor, Tensor]  # columns, their rows, similarities
Take = Callable[[Tensor, Tensor], Part]


class Side(NamedTuple):
    """A side of each anchor: its value, differentiable (in log space the logarithm of the sum); and as in `Part`."""

    value: Tensor
    pairs: Tensor
    extreme: Tensor
    mass: Tensor

    @property
    def mean(self) -> Tensor:
        """Value ÷ pairs; 0 without one."""
        return self.value / self.pairs.clamp(min=1)

    @property
    def weighted_mean(self) -> Tensor:
        """Value ÷ mass, which is constant in the gradient; 0 without one."""
        return per_mass(self.value, self.mass)


# Similarities at once. On a CPU what one pass writes the next should find in the caches of the cores; within that, more
# at once lose less between passes: multi-similarity over 60,000 rows on two cores with 2 MB each took 16.7 ms with
# 1 MB at once and 14.3 ms with 4 MB; with 512 kB each, where 1 MB fits, NT-Xent 40.6 ms so and 35.3 with 2 MB. On a GPU
# 64 MB, which then waits for nothing.
FEWEST, MOST, STREAMED = 2**19, 2**22, 2**24
HALF_RANGE = 2.0**15  # what weights in float16 may add up to; its numbers end at 65,504


def columns_at_once(anchors: Tensor) -> int:
    """Columns of a chunk by default, for this many anchors on this device."""
    cached = torch.get_num_threads() * cache.second_level() // anchors.element_size()
    similarities = min(max(FEWEST, cached), MOST) if anchors.device.type == "cpu" else STREAMED
    return max(512, similarities // max(len(anchors), 1))


class Chunks:
    """The pairs of unit anchors with unit references, for a loss to sum over without ever holding the matrix.

    A loss gives `take(similarities, context)`, which may overwrite the similarities it gets; they are +∞ where a pair
    is not positive, −∞ where it is not negative. `context` is anything per anchor, and gets its gradient.
    """

    def __init__(self, anchors: Tensor, refs: Tensor, pairing: Pairing, chunk: int | None = None) -> None:
        self.anchors, self.refs, self.pairing = anchors, refs, pairing
        self.chunk = chunk = columns_at_once(anchors) if chunk is None else chunk
        of_class, self.special = pairing.special_columns()
        self.of_class = [columns for columns in of_class.split(chunk) if len(columns)]
        self._spare = anchors.new_empty(0)
        self.acted_on: dict[str, Tensor] = {}  # pairs of each anchor that the last sum of a side acted on

    def positives(
        self, take: Take, context: Tensor | None = None, *, log: bool = False, nearest: float | None = None
    ) -> Side:
        """Sum over the positives of each anchor; one nearer than `nearest` counts as being there, and is not pulled."""
        return self._side("positives", take if nearest is None else _bounded(take, nearest), context, log)

    def negatives(self, take: Take, context: Tensor | None = None, *, log: bool = False) -> Side:
        """Sum over the negatives of each anchor."""
        return self._side("negatives", take, context, log)

    def spare(self, like: Tensor) -> Tensor:
        """A second matrix of a block's size to work in, the same one for every block: fresh pages cost as a product."""
        if self._spare.numel() < like.numel() or self._spare.dtype != like.dtype:
            self._spare = like.new_empty(like.numel())
        return self._spare[: like.numel()].as_strided(like.shape, like.stride())

    @cached_property
    def counts(self) -> dict[str, Tensor]:
        """How many positives and negatives each anchor has."""
        positives, others = torch.zeros(2, len(self.anchors), dtype=torch.int64, device=self.anchors.device)
        for columns in self.special.split(self.chunk):
            positive, ignored = self.pairing.masks(columns)
            positives, others = positives + positive.sum(1), others + (positive | ignored).sum(1)
        live = len(self.refs) if self.pairing.live is None else self.pairing.live.sum()
        return {"positives": positives, "negatives": live - others}

    def absent(self, first: int, last: int) -> tuple[Tensor, Tensor]:
        """Anchors and columns of the pairs that are not negative, in the special columns from `first` to `last`."""
        if len(self.special) > self.chunk:
            return self._absent(self.special[first:last])
        anchors, columns, ends = self._all_absent
        return anchors[ends[first] : ends[last]], columns[ends[first] : ends[last]]

    @cached_property
    def _all_absent(self) -> tuple[Tensor, Tensor, list[int]]:
        """Of all special columns, found at once where they fit one block; and where those of each begin and end."""
        anchors, columns = self._absent(self.special)
        return anchors, columns, [*torch.searchsorted(columns, self.special).tolist(), len(columns)]

    def _absent(self, columns: Tensor) -> tuple[Tensor, Tensor]:
        """In the order of the columns."""
        positive, ignored = self.pairing.masks(columns)
        place, anchors = (positive | ignored).T.nonzero(as_tuple=True)
        return anchors, columns[place]

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
            greatest = torch.maximum(greatest, pair_max(similarities))
        return greatest

    def positive_blocks(self) -> Iterator[Tensor]:
        """Similarities of the positives, differentiable, +∞ where a pair is not positive; a chunk of columns each."""
        return (similarities for _, _, similarities in _positives(self, self.anchors, self.refs))

    def _side(self, name: str, take: Take, context: Tensor | None, log: bool) -> Side:
        given = self.anchors.new_empty(len(self.anchors), 0) if context is None else context
        blocks = _positives if name == "positives" else _negatives
        side = Side(*_Sided.apply(self.anchors, self.refs, given, self, blocks, take, log))
        self.acted_on[name] = self.counts[name] if side.pairs is None else side.pairs
        return side._replace(pairs=self.acted_on[name])


def _bounded(take: Take, nearest: float) -> Take:
    """The same sum with positives no nearer than that; for totals that the loss itself has summed."""

    def bounded(similarities: Tensor, context: Tensor) -> Part:
        part = take(held(similarities, similarities < torch.inf, nearest), context)
        assert part.total is not None and part.weights is not None  # noqa: S101, PT018
        return part._replace(weights=part.weights.mul_(similarities <= nearest))

    return bounded


Blocks = Callable[[Chunks, Tensor, Tensor], Iterator[Block]]


def _positives(chunks: Chunks, anchors: Tensor, refs: Tensor) -> Iterator[Block]:
    for columns in chunks.of_class:
        rows = refs[columns].to(anchors)
        positive, _ = chunks.pairing.masks(columns)
        yield columns, rows, (anchors @ rows.T).masked_fill_(~positive, torch.inf)


def _negatives(chunks: Chunks, anchors: Tensor, refs: Tensor) -> Iterator[Block]:
    # Rows stored in half precision are multiplied in it where the device can: half the bytes, and faster.
    in_half = refs.dtype.itemsize == 2 and multiplies(refs.dtype, refs.device)
    left = anchors.to(refs.dtype) if in_half else anchors
    memory = left.new_empty(len(left) * min(chunks.chunk, len(refs)))
    wide = None if left.dtype == anchors.dtype else anchors.new_empty(len(memory))
    absent = anchors.new_tensor(-torch.inf)
    for start, first, last, dead in _spans(chunks, len(refs)):
        columns = slice(start, start + chunks.chunk)
        rows = refs[columns].to(left)
        similarities = product(left, rows, memory)
        if wide is not None:
            similarities = wide[: similarities.numel()].view_as(similarities).copy_(similarities)
        if first < last:
            anchor, column = chunks.absent(first, last)
            similarities.index_put_((anchor, column - start), absent)
        if dead is not None:
            similarities.masked_fill_(dead, absent)
        yield columns, rows, similarities


def _spans(chunks: Chunks, columns: int) -> Iterator[tuple[int, int, int, Tensor | None]]:
    """Where each chunk with a live column starts, its first and last special column, which are not live, if some."""
    starts, live = range(0, columns, chunks.chunk), chunks.pairing.live
    edges = torch.tensor([*starts, columns], device=chunks.special.device)
    bounds = torch.searchsorted(chunks.special, edges).tolist()
    before = edges.tolist() if live is None else [0, *live.cumsum(0)[edges[1:] - 1].tolist()]
    for number, start in enumerate(starts):
        width, alive = min(chunks.chunk, columns - start), before[number + 1] - before[number]
        if alive:
            dead = None if live is None or alive == width else ~live[start : start + width]
            yield start, bounds[number], bounds[number + 1], dead


class _Sided(torch.autograd.Function):
    """Forward finds the sum and its derivatives by the anchors and the context; backward only scales them.

    The gradient by the references, needed rarely, is found by a second look at each block.
    """

    @staticmethod
    def forward(
        ctx: Any, anchors: Tensor, refs: Tensor, context: Tensor, chunks: Chunks, blocks: Blocks, take: Take, log: bool
    ) -> tuple[Tensor, Tensor | None, Tensor, Tensor | None]:
        side = _fold(anchors, context, log, blocks(chunks, anchors, refs), take)
        direction, by_context, extreme = side.direction, side.by_context, side.extreme
        assert direction is not None and by_context is not None and extreme is not None  # noqa: S101, PT018
        # What turns the derivative of the total into that of the value: 1 ÷ total for a logarithm.
        inverse = torch.where(side.total > 0, 1 / side.total, 0) if log else torch.ones_like(side.total)
        ctx.direction = direction * inverse[:, None]
        ctx.by_context = by_context * per_anchor_like(inverse, context)
        if ctx.needs_input_grad[1]:  # else nothing of the memory, nor of a block, stays with a loss that is kept
            ctx.save_for_backward(anchors, refs, context, side.scale, inverse)
            ctx.chunks, ctx.blocks, ctx.take = chunks, blocks, take
        ctx.mark_non_differentiable(*(out for out in (side.pairs, extreme, side.mass) if out is not None))
        value = side.total if side.scale is None else side.scale + side.total.log()
        return value, side.pairs, extreme, side.mass

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, by_value: Tensor, *_: Any) -> tuple[Tensor | None, ...]:
        grad_refs = _Sided._by_refs(ctx, by_value) if ctx.needs_input_grad[1] else None
        by_context = per_anchor_like(by_value, ctx.by_context) * ctx.by_context
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
                    by_weight = by_total if part.scale is None else by_total * factor(part.scale, scale)
                    grad[columns] += (part.weights * (part.slope * by_weight)[:, None]).T @ anchors
        return grad.to(refs.dtype)


def _fold(anchors: Tensor, context: Tensor, log: bool, blocks: Iterator[Block], take: Take) -> Sum:
    none = anchors.new_full((len(anchors),), -torch.inf)
    total = Sum(anchors.new_zeros(len(anchors)), none if log else None)
    empty = True
    for _, rows, similarities in blocks:
        part = take(similarities, context)
        direction = _weighted(part, rows, anchors)
        plain = _linear(part, direction, anchors, rows, similarities) if part.total is None else part.total
        added = Sum(plain, part.scale, direction, part.by_context, part.pairs, part.extreme, part.mass)
        total, empty = added if empty else merge(total, added), False
    return total._replace(
        direction=torch.zeros_like(anchors) if total.direction is None else total.direction,
        by_context=torch.zeros_like(context) if total.by_context is None else total.by_context,
        extreme=none if total.extreme is None else total.extreme,
        pairs=total.total.long() if empty else total.pairs,
        mass=total.total.clone() if empty else total.mass,
    )


def _weighted(part: Part, rows: Tensor, anchors: Tensor) -> Tensor | None:
    """Σ slope · weight · row of each anchor; None without a weight."""
    weights = part.weights
    few = len(rows) // 4  # rows with a weight, as after a while of training; some losses weigh more than they act on
    if weights is not None and part.pairs is not None and is_known(rows) and int(part.pairs.sum()) < few:
        columns = weights.amax(0).nonzero()[:, 0]
        if len(columns) < few:
            weights, rows = weights.T[columns].T, rows[columns]
    if weights is None or weights.shape[1] == 0:
        return None
    direction = _sums(weights, rows).to(anchors)
    return direction if part.slope == 1 else direction.mul_(part.slope)


def _sums(weights: Tensor, rows: Tensor) -> Tensor:
    """`weights @ rows` in the precision of the rows; weights that float16 would overflow at are brought into it."""
    if rows.dtype != torch.float16:
        return weighted_sum(weights.to(rows), rows)
    by = (weights.sum(1, keepdim=True) / HALF_RANGE).clamp(min=torch.finfo(weights.dtype).tiny)
    return weighted_sum((weights / by).to(rows), rows).to(weights) * by


def _linear(part: Part, direction: Tensor | None, anchors: Tensor, rows: Tensor, similarities: Tensor) -> Tensor:
    """The total of a part whose pairs cost in proportion to their similarity."""
    assert part.pairs is not None  # noqa: S101
    total = part.offset * (part.pairs if part.mass is None else part.mass).to(anchors)
    if part.weights is None or direction is None:
        return total
    if rows.dtype == anchors.dtype:
        return (total + (anchors * direction).sum(1)).clamp_(min=0)  # by rounding alone is a cost below 0
    present = torch.where(part.weights > 0, similarities, 0)  # a product in half precision is too coarse for this
    return total + part.slope * (part.weights * present).sum(1)
