"""Sums over both sides of every anchor, its positives and its negatives, streamed a block of columns at a time.

A formula gets its sums from `Whole` or from `Streamed`, which have the same methods. `Whole` is plain torch on the
whole matrix: the reference, also used where the matrix is small. `Streamed` never holds the matrix. Positives are few,
so their columns are gathered by class. Negatives come a block at a time. The derivative by the anchors,
Σ derivative · row, is summed together with the costs.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from crossbatch.errors import SettingError
from crossbatch.losses.engine.costs import Absent, Block, Columns, Cost, Declared, Written, parted
from crossbatch.losses.engine.products import columns_at_once, most_at_once, multiplies, pair_max, product
from crossbatch.losses.engine.sums import Partial, Sums, merge, merge_across, scaled
from crossbatch.losses.engine.whole import Whole
from crossbatch.losses.pairing import Pairing
from crossbatch.precision import without_autocast
from crossbatch.processes import Processes
from crossbatch.shapes import on_cpu


class Streamed:
    """Sums over blocks of columns, computed together with their derivatives; same methods as `Whole`.

    `parameters`: parameters of the loss, which a cost may use. On a GPU both sides mask every column, since asking how
    many columns hold a positive would wait for the device.

    Where each process holds different columns (`pairing.across`), the sums of all processes are merged, so all of them
    continue with the same sums. Only the derivatives by the anchors differ: each process has those of its own columns.
    """

    def __init__(
        self, anchors: Tensor, refs: Tensor, pairing: Pairing, parameters: Sequence[Tensor], width: int | None
    ) -> None:
        self.anchors, self.refs, self.pairing, self.parameters = anchors, refs, pairing, parameters
        self.width = columns_at_once(anchors) if width is None else width
        self.everything = [slice(first, first + self.width) for first in range(0, len(refs), self.width)]
        self.across = pairing.across
        self.by_mask, self.of_class = not on_cpu(refs), list[Columns](self.everything)
        if not self.by_mask:
            of_class, self.special = pairing.special_columns()
            self.of_class = [columns for columns in of_class.split(self.width) if len(columns)]
        self.farthest = anchors.new_full((len(anchors),), torch.inf)
        for block in self.blocks(positive=True):
            self.farthest = torch.minimum(self.farthest, block.put(torch.inf, block.similarities).amin(1))
        if self.across is not None:
            self.farthest = self.across.least(self.farthest)
        self.has_positive = self.farthest < torch.inf

    def positives(self, cost: Cost, *context: Tensor, log: bool = False) -> Sums:
        """Sums over the positives of each anchor."""
        declared = Written(cost, 1.0, log)
        inputs = (self.anchors, self.refs, *context, *declared.reads(self.anchors, context, self.parameters))
        total, weight, pairs = _Side.apply(self, declared, True, False, len(context), *inputs)
        return Sums(total, weight, pairs, None if log else total)

    def negatives(self, cost: Cost, *context: Tensor, log: bool = False, nearest: bool = False) -> Sums:
        """Sums over the negatives of each anchor; with `nearest`, also the greatest similarity of a negative."""
        declared = cost if isinstance(cost, Declared) else Written(cost, -1.0, log)
        inputs = (self.anchors, self.refs, *context, *declared.reads(self.anchors, context, self.parameters))
        total, weight, pairs, *greatest = _Side.apply(self, declared, False, nearest, len(context), *inputs)
        return Sums(total, weight, pairs, None if declared.log else total, *greatest)

    def positive_similarities(self) -> Iterator[Tensor]:
        """Yield blocks of similarities [anchors, columns], differentiable, +∞ where a pair is not positive."""
        if self.across is not None:
            columns = self.pairing.special_columns()[0]
            gathered = self.across.gather_columns(self._positive_similarities(columns))
            yield from gathered.split(self.width, 1) if gathered.shape[1] else ()
            return
        for block in self.of_class:
            yield self._positive_similarities(block)

    def _positive_similarities(self, columns: Columns) -> Tensor:
        similarities = self.anchors @ self.refs[columns].to(self.anchors).T
        return torch.where(self.pairing.masks(columns)[0], similarities, torch.inf)

    def blocks(self, *, positive: bool, nearest: bool = False) -> Iterator[Block]:
        """Yield the blocks of a side; each block overwrites the one before."""
        # Rows stored in half precision are multiplied in it where the device can: half the bytes, and faster.
        in_half = self.refs.dtype.itemsize == 2 and multiplies(self.refs.dtype, self.refs.device) and not positive
        left = self.anchors.detach().to(self.refs.dtype if in_half else self.anchors.dtype)
        into = wide = spare = left.new_empty(0)
        for columns, absent in self._masked(positive) if positive or self.by_mask else self._indexed():
            rows = self.refs.detach()[columns].to(left)
            if into.numel() < len(left) * len(rows):
                into = left.new_empty(len(left) * len(rows))
                wide = torch.empty_like(into, dtype=self.anchors.dtype) if in_half else into
                spare = torch.empty_like(wide)
            s = product(left, rows, into)
            s = wide[: s.numel()].view_as(s).copy_(s) if in_half else s
            block = Block(columns, rows, s, absent, spare[: s.numel()].as_strided(s.shape, s.stride()))
            block.put(-torch.inf, s)
            yield block._replace(nearest=pair_max(s)) if nearest else block

    def _masked(self, positive: bool) -> Iterator[tuple[Columns, tuple[Absent, ...]]]:
        """Yield the columns of each block, and a mask of the pairs that are absent from the side."""
        for columns in self.of_class if positive else self.everything:
            yield columns, (~self.pairing.masks(columns)[0 if positive else 1],)

    def _indexed(self) -> Iterator[tuple[Columns, tuple[Absent, ...]]]:
        """Yield the columns of each block that has a live column, and the indices of the few pairs not negative."""
        together = len(self.special) <= self.width  # if there are more, each block finds its own pairs
        anchors, columns = self._not_negative(self.special) if together else (self.special, self.special)
        starts = torch.tensor([part.start for part in self.everything], dtype=torch.int64)
        ends = [*torch.searchsorted(columns, starts).tolist(), len(columns)]
        for block, first, last in zip(self.everything, ends[:-1], ends[1:], strict=True):
            pairs = anchors[first:last], columns[first:last]
            anchor, column = pairs if together else self._not_negative(columns[first:last])
            absent: tuple[Absent, ...] = ((anchor, column - block.start),) if first < last else ()
            dead = None if self.pairing.live is None else ~self.pairing.live[block]
            if dead is not None and dead.any():
                absent = (*absent, dead[None])
            if dead is None or not dead.all():
                yield block, absent

    def _not_negative(self, columns: Tensor) -> tuple[Tensor, Tensor]:
        """Indices (anchors, columns) of the pairs in these columns that are not negative, in the columns' order."""
        place, anchors = (~self.pairing.masks(columns)[1]).T.nonzero(as_tuple=True)
        return anchors, columns[place]


class _Side(torch.autograd.Function):
    """Sums of one side. Forward finds them and their derivatives by anchors and context; backward scales these.

    Derivatives by the references and the parameters, if needed, take a second pass over the blocks.
    """

    @staticmethod
    def forward(
        ctx: Any, side: Streamed, cost: Declared, positive: bool, nearest: bool, n: int, anchors: Tensor, *rest: Tensor
    ) -> tuple[Tensor, ...]:
        context, sums, zero = tuple(item.detach() for item in rest[1 : 1 + n]), None, anchors.new_zeros(len(anchors))
        greatest = torch.full_like(zero, -torch.inf)
        for block in side.blocks(positive=positive, nearest=nearest):
            greatest = greatest if block.nearest is None else torch.maximum(greatest, block.nearest)
            block_sums = cost.add_up(anchors, block, *context)
            sums = block_sums if sums is None else merge(sums, block_sums)
        if side.across is not None:
            sums = merge_across(sums, zero, side.across, log=cost.log)
            greatest = side.across.greatest(greatest) if nearest else greatest
        sums = sums or Partial(zero.clone(), zero, zero)
        value, ctx.by = sums.total, sums.by
        if cost.log:
            value = sums.total.log() if sums.top is None else sums.top + sums.total.log()
            ctx.by = scaled(sums.by, torch.where(sums.total > 0, 1 / sums.total, 0))
        ctx.again = (side, cost, positive, context, rest[1 + n :], value.detach())
        constant = (sums.weight, sums.pairs, *((greatest,) if nearest else ()))
        ctx.mark_non_differentiable(*constant)
        return value, *constant

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, by_value: Tensor, *_: Any) -> tuple[Tensor | None, ...]:
        side, cost, positive, context, parameters, value = ctx.again
        by = (*scaled(ctx.by, by_value), *[None] * (1 + len(context) - len(ctx.by)))
        by_refs, by_parameters = None, list[Any]([None] * len(parameters))
        if any(ctx.needs_input_grad[6:7] + ctx.needs_input_grad[7 + len(context) :]):
            by_refs, *by_parameters = _second_look(side, cost, positive, context, parameters, value, by_value)
        by_context = by[1:]
        if side.across is not None:
            wanted = ctx.needs_input_grad[7 : 7 + len(context)]
            by_context = tuple(
                _everywhere(derivative, tensor, side.across) if needed else None
                for derivative, tensor, needed in zip(by_context, context, wanted, strict=True)
            )
            by_parameters = [None if one is None else side.across.sum(one) for one in by_parameters]
        return None, None, None, None, None, by[0], by_refs, *by_context, *by_parameters


def _everywhere(by: Tensor | None, of: Tensor, across: Processes) -> Tensor:
    """Sum a derivative over the processes. `of`, the tensor it is taken by, is the same in all of them."""
    return across.sum(torch.zeros_like(of) if by is None else by)


def _second_look(
    side: Streamed, cost: Declared, positive: bool, context: Any, parameters: Any, value: Tensor, by_value: Tensor
) -> list[Tensor]:
    """Derivatives by the references and by the parameters, from the plain form of the cost."""
    by_refs = torch.zeros_like(side.refs, dtype=side.anchors.dtype)
    by_parameters = [torch.zeros_like(parameter) for parameter in parameters]
    for block in side.blocks(positive=positive):
        s = block.put(1.0 if positive else -1.0, block.similarities).requires_grad_()
        with torch.enable_grad():
            terms, weights, costly = parted(cost(s, *context), s)
            if cost.log:
                terms = terms - torch.where(value > -torch.inf, value, torch.inf)[:, None]
                block.put(-torch.inf, terms.detach())
                terms = terms.exp()
            if costly and not cost.log:
                weights = terms.detach() > 0
            terms = terms if weights is None else terms * weights
        counted = block.put(0.0, by_value[:, None].expand_as(s).clone())
        if not terms.requires_grad:
            continue
        by_s, *by_block = torch.autograd.grad(terms, [s, *parameters], counted, allow_unused=True)
        by_refs[block.columns] += 0 if by_s is None else by_s.T @ side.anchors.detach()
        by_parameters = [old if new is None else old + new for old, new in zip(by_parameters, by_block, strict=True)]
    return [by_refs.to(side.refs.dtype), *by_parameters]


class AtOnce(torch.autograd.Function):
    """Mean loss over the anchors. Forward computes all gradients, so that the value keeps no rows of the memory alive.

    `over`: computes the loss of each anchor from `Whole` or `Streamed`. `counts`: forward writes to it which anchors
    have a positive.
    """

    @staticmethod
    def forward(
        ctx: Any,
        over: Callable[[Any], Tensor],
        counts: dict[str, Tensor],
        pairing: Pairing,
        width: int | None,
        *given: Any,
    ) -> Tensor:
        """Return the mean. `given`: anchors, references (None for a batch compared with itself), parameters."""
        wanted, (anchors, refs, *parameters) = ctx.needs_input_grad[4:], given
        left = anchors.detach().requires_grad_(wanted[0])
        right = left if refs is None else refs.detach().requires_grad_(wanted[1])
        with torch.set_grad_enabled(any(wanted)), without_autocast(anchors.device):
            if width is None and pairing.across is None and len(left) * len(right) <= most_at_once(left, refs is None):
                sides: Whole | Streamed = Whole(left, right, *pairing.masks())
            else:
                learnt = [parameter for parameter in parameters if parameter.requires_grad]
                sides = Streamed(left, right, pairing, learnt, width)
            losses, counts["anchors"] = over(sides), sides.has_positive
            value = (losses.masked_fill(~sides.has_positive, 0) if pairing.with_positive_only else losses).mean()
        leaves = [leaf for leaf, needed in zip((left, right, *parameters), wanted, strict=True) if needed]
        if value.requires_grad:
            gradients = list(torch.autograd.grad(value, leaves, materialize_grads=True))
        else:  # there is no pair
            gradients = [torch.zeros_like(leaf) for leaf in leaves]
        if pairing.across is not None and wanted[0]:
            gradients[0] = pairing.across.sum(gradients[0])
        ctx.by = [gradients.pop(0) if needed else None for needed in wanted]
        return value.detach().add(left.detach().sum(), alpha=0)  # NaN for a row of NaN, which comparisons hide

    @staticmethod
    def backward(ctx: Any, by_value: Tensor) -> tuple[Tensor | None, ...]:
        """Scale the gradients of forward. They are constants, so a second derivative would be wrong: refuse it."""
        if torch.is_grad_enabled():
            raise SettingError("a pair loss has no second derivative (create_graph=True): reference_loss has one")
        return None, None, None, None, *(None if by is None else by_value * by for by in ctx.by)
