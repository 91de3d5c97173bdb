"""Both sides of every anchor, its positives and its negatives: on the whole matrix, or streamed a block at a time.

A formula asks either for its sums and cannot tell them apart. `Whole` is plain torch: it judges, and serves where the
matrix is small. `Streamed` never holds the matrix: positives are few, so their columns are gathered by class, negatives
come a block at a time, and the derivative by the anchors, Σ derivative · row, adds up beside the sum.
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
    """The sides as sums over blocks of columns, each found together with its derivatives; as `Whole`.

    `parameters`: those of the loss, which a cost may use. On a GPU, which must not be asked how many columns hold a
    positive, both sides look at every column through masks.

    Where other processes have other columns (`pairing.across`) their sums are merged into one, the same everywhere, so
    that from there on all compute the same. What differs are the derivatives by the anchors, each of its own columns.
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

    def positives(self, cost: Cost, *context: Tensor, log: bool = False) -> Sums:
        """Sums over the positives of each anchor."""
        each = Written(cost, 1.0, log)
        given = (self.anchors, self.refs, *context, *each.reads(self.anchors, context, self.parameters))
        total, weight, pairs = _Side.apply(self, each, True, False, len(context), *given)
        return Sums(total, weight, pairs, None if log else total)

    def negatives(self, cost: Cost, *context: Tensor, log: bool = False, nearest: bool = False) -> Sums:
        """Sums over the negatives of each anchor; if asked, the greatest similarity of one."""
        each = cost if isinstance(cost, Declared) else Written(cost, -1.0, log)
        given = (self.anchors, self.refs, *context, *each.reads(self.anchors, context, self.parameters))
        total, weight, pairs, *greatest = _Side.apply(self, each, False, nearest, len(context), *given)
        return Sums(total, weight, pairs, None if each.log else total, *greatest)

    def positive_similarities(self) -> Iterator[Tensor]:
        """Blocks [anchors, columns], differentiable, +∞ where a pair is not positive."""
        if self.across is not None:
            columns = self.pairing.special_columns()[0]
            found = self.across.gather_columns(self._positive_similarities(columns))
            yield from found.split(self.width, 1) if found.shape[1] else ()
            return
        for block in self.of_class:
            yield self._positive_similarities(block)

    def _positive_similarities(self, columns: Columns) -> Tensor:
        similarities = self.anchors @ self.refs[columns].to(self.anchors).T
        return torch.where(self.pairing.masks(columns)[0], similarities, torch.inf)

    def blocks(self, *, positive: bool, nearest: bool = False) -> Iterator[Block]:
        """The pairs of a side; a block is overwritten by the next."""
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
        """Columns of each block, and a mask of the pairs that are absent from the side."""
        for columns in self.of_class if positive else self.everything:
            yield columns, (~self.pairing.masks(columns)[0 if positive else 1],)

    def _indexed(self) -> Iterator[tuple[Columns, tuple[Absent, ...]]]:
        """Columns of each block with a live one, and where the few pairs are that are not negative."""
        together = len(self.special) <= self.width  # else there are so many that each block looks for its own
        anchors, columns = self._not_negative(self.special) if together else (self.special, self.special)
        starts = torch.tensor([one.start for one in self.everything], dtype=torch.int64)
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
        """Anchors and columns of the pairs with these columns that are not negative, in the order of the columns."""
        place, anchors = (~self.pairing.masks(columns)[1]).T.nonzero(as_tuple=True)
        return anchors, columns[place]


class _Side(torch.autograd.Function):
    """Forward finds the sums and their derivatives by the anchors and the context; backward scales them.

    The derivatives by references and parameters, where they are asked for, take a second look.
    """

    @staticmethod
    def forward(
        ctx: Any, side: Streamed, cost: Declared, positive: bool, nearest: bool, n: int, anchors: Tensor, *rest: Tensor
    ) -> tuple[Tensor, ...]:
        context, found, zero = tuple(each.detach() for each in rest[1 : 1 + n]), None, anchors.new_zeros(len(anchors))
        greatest = torch.full_like(zero, -torch.inf)
        for block in side.blocks(positive=positive, nearest=nearest):
            greatest = greatest if block.nearest is None else torch.maximum(greatest, block.nearest)
            added = cost.add_up(anchors, block, *context)
            found = added if found is None else merge(found, added)
        if side.across is not None:
            found = merge_across(found, zero, side.across, log=cost.log)
            greatest = side.across.greatest(greatest) if nearest else greatest
        found = found or Partial(zero.clone(), zero, zero)
        value, ctx.by = found.total, found.by
        if cost.log:
            value = found.total.log() if found.top is None else found.top + found.total.log()
            ctx.by = scaled(found.by, torch.where(found.total > 0, 1 / found.total, 0))
        ctx.again = (side, cost, positive, context, rest[1 + n :], value.detach())
        constant = (found.weight, found.pairs, *((greatest,) if nearest else ()))
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
                _everywhere(one, of, side.across) if needed else None
                for one, of, needed in zip(by_context, context, wanted, strict=True)
            )
            by_parameters = [None if one is None else side.across.sum(one) for one in by_parameters]
        return None, None, None, None, None, by[0], by_refs, *by_context, *by_parameters


def _everywhere(by: Tensor | None, of: Tensor, across: Processes) -> Tensor:
    """A derivative by what is the same in all processes: the sum of what the columns of each make of it."""
    return across.sum(torch.zeros_like(of) if by is None else by)


def _second_look(
    side: Streamed, cost: Declared, positive: bool, context: Any, parameters: Any, value: Tensor, by_value: Tensor
) -> list[Tensor]:
    """Derivatives by the references and by the parameters, of the plain form of the cost."""
    by_refs = torch.zeros_like(side.refs, dtype=side.anchors.dtype)
    by = [torch.zeros_like(parameter) for parameter in parameters]
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
        by_s, *found = torch.autograd.grad(terms, [s, *parameters], counted, allow_unused=True)
        by_refs[block.columns] += 0 if by_s is None else by_s.T @ side.anchors.detach()
        by = [one if other is None else one + other for one, other in zip(by, found, strict=True)]
    return [by_refs.to(side.refs.dtype), *by]


class AtOnce(torch.autograd.Function):
    """Mean loss of the anchors with all its gradients, at once: a loss that is kept keeps nothing of the memory.

    `over`: the loss of each anchor of some sides. `refs`: None for a batch compared with itself. `counts` takes which
    anchors have a positive.
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
        """The mean; `given` are anchors, references or None, and the parameters of the loss."""
        wanted, (anchors, refs, *parameters) = ctx.needs_input_grad[4:], given
        left = anchors.detach().requires_grad_(wanted[0])
        right = left if refs is None else refs.detach().requires_grad_(wanted[1])
        with torch.set_grad_enabled(any(wanted)), without_autocast(anchors.device):
            if width is None and pairing.across is None and len(left) * len(right) <= most_at_once(left, refs is None):
                sides: Whole | Streamed = Whole(left, right, *pairing.masks())
            else:
                sides = Streamed(left, right, pairing, [one for one in parameters if one.requires_grad], width)
            per_anchor, has = over(sides), sides.farthest < torch.inf
            value = (per_anchor.masked_fill(~has, 0) if pairing.with_positive_only else per_anchor).mean()
        counts["anchors"] = has
        asked = [one for one, needed in zip((left, right, *parameters), wanted, strict=True) if needed]
        found = [torch.zeros_like(one) for one in asked]
        if value.requires_grad:  # which it does not without a pair
            found = list(torch.autograd.grad(value, asked, materialize_grads=True))
            if pairing.across is not None and wanted[0]:
                found[0] = pairing.across.sum(found[0])
        ctx.by = [found.pop(0) if needed else None for needed in wanted]
        shown: Tensor = value.detach() + 0 * left.detach().sum()  # a row of NaN shows, though comparisons hide it
        return shown

    @staticmethod
    def backward(ctx: Any, by_value: Tensor) -> tuple[Tensor | None, ...]:
        """Scales what was found, which is constant: a second derivative would be wrong."""
        if torch.is_grad_enabled():
            raise SettingError(
                "a pair loss has no second derivative (create_graph=True): take reference_loss, which has"
            )
        return None, None, None, None, *(None if by is None else by_value * by for by in ctx.by)
