"""The chunked form of every loss: one block of similarities at a time, the gradient found on the way.

Positives are few and known at once, so they are gathered by class; everything else streams by in chunks,
with the positive and the ignored pairs masked out. A side of an anchor is a sum over its pairs,
so its gradient, Σ weight · row, adds up beside the sum and never needs the whole matrix.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from crossbatch.losses.pair_loss import PairLoss, Part
from crossbatch.losses.pairing import Pairing


class Sides(NamedTuple):
    """Both sides of each anchor: totals (their logarithms in log space) and the pairs that count."""

    pull: Tensor
    push: Tensor
    pulled: Tensor
    pushed: Tensor


class Sum(NamedTuple):
    """A side so far: what its blocks' parts add up to, and the gradient of the total. All per anchor."""

    total: Tensor
    scale: Tensor
    direction: Tensor
    pairs: Tensor
    extreme: Tensor | None


def chunked_sides(loss: PairLoss, anchors: Tensor, refs: Tensor, pairing: Pairing) -> Sides:
    """Totals of both sides, differentiable with respect to `anchors` and, where it requires it, `refs`."""
    return Sides(*_Chunked.apply(anchors, refs, loss, pairing))


def merge(left: Sum, right: Sum) -> Sum:
    """The sum of two disjoint sets of columns; associative."""
    scale = torch.maximum(left.scale, right.scale)
    extreme = left.extreme if right.extreme is None else right.extreme
    if left.extreme is not None and right.extreme is not None:
        extreme = torch.maximum(left.extreme, right.extreme)
    a, b = _factor(left.scale, scale), _factor(right.scale, scale)
    return Sum(
        left.total * a + right.total * b,
        scale,
        left.direction * a[:, None] + right.direction * b[:, None],
        left.pairs + right.pairs,
        extreme,
    )


class _Blocks:
    """The similarities of unit anchors with blocks of columns, masked for one side or the other."""

    def __init__(self, anchors: Tensor, refs: Tensor, pairing: Pairing, chunk: int) -> None:
        self.anchors, self.refs, self.pairing, self.chunk = anchors, refs, pairing, chunk
        self.of_positives = [columns for columns in pairing.positive_columns().split(chunk) if len(columns)]
        self.special = pairing.special_columns()

    def positives(self) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Yield columns, their rows, and similarities that are +∞ where a pair is not positive."""
        for columns in self.of_positives:
            rows = self.refs[columns].to(self.anchors)
            positive, _ = self.pairing.masks(columns)
            yield columns, rows, (self.anchors @ rows.T).masked_fill_(~positive, torch.inf)

    def negatives(self) -> Iterator[tuple[slice, Tensor, Tensor]]:
        """Yield columns, their rows, and similarities that are −∞ where a pair is not negative."""
        starts = range(0, len(self.refs), self.chunk)
        edges = torch.tensor([*starts, len(self.refs)], device=self.special.device)
        bounds = torch.searchsorted(self.special, edges).tolist()
        for start, first, last in zip(starts, bounds, bounds[1:], strict=False):
            columns = slice(start, start + self.chunk)
            rows = self.refs[columns].to(self.anchors)
            similarities = self.anchors @ rows.T
            if first < last:
                special = self.special[first:last]
                positive, ignored = self.pairing.masks(special)
                similarities[:, special - start] = similarities[:, special - start].masked_fill_(
                    positive | ignored, -torch.inf
                )
            yield columns, rows, similarities


class _Chunked(torch.autograd.Function):
    """Forward finds the totals and their gradient by the anchors; backward only scales it.

    The gradient by the references, needed rarely, is found by a second look at each block.
    """

    @staticmethod
    def forward(ctx: Any, anchors: Tensor, refs: Tensor, loss: PairLoss, pairing: Pairing) -> tuple[Tensor, ...]:
        with torch.autocast(anchors.device.type, enabled=False):
            blocks = _Blocks(anchors, refs, pairing, loss.chunk)
            least = _least_positive(blocks) if loss.mines else anchors.new_full((len(anchors),), torch.inf)
            push = _fold(anchors, loss, blocks.negatives(), lambda s: loss.negatives(s, least))
            most = push.extreme if push.extreme is not None else torch.full_like(least, -torch.inf)
            pull = _fold(anchors, loss, blocks.positives(), lambda s: loss.positives(s, most))
            ctx.save_for_backward(
                anchors, refs, least, most, pull.scale, push.scale, _inverse(loss, pull), _inverse(loss, push)
            )
            ctx.directions = tuple(side.direction * _inverse(loss, side)[:, None] for side in (pull, push))
            ctx.loss, ctx.pairing = loss, pairing
            ctx.mark_non_differentiable(pull.pairs, push.pairs)
            return _value(loss, pull), _value(loss, push), pull.pairs, push.pairs

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, by_pull: Tensor, by_push: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        grad_refs = None
        if ctx.needs_input_grad[1]:
            with torch.autocast(by_pull.device.type, enabled=False):
                grad_refs = _Chunked._by_refs(ctx, by_pull, by_push)
        pull, push = ctx.directions
        return by_pull[:, None] * pull + by_push[:, None] * push, grad_refs, None, None

    @staticmethod
    def _by_refs(ctx: Any, by_pull: Tensor, by_push: Tensor) -> Tensor:
        anchors, refs, least, most, pull_scale, push_scale, pull_inverse, push_inverse = ctx.saved_tensors
        blocks = _Blocks(anchors, refs, ctx.pairing, ctx.loss.chunk)
        grad = torch.zeros_like(refs, dtype=anchors.dtype)
        sides: tuple[tuple[Iterator[Any], Callable[[Tensor], Part], Tensor, Tensor], ...] = (
            (blocks.positives(), lambda s: ctx.loss.positives(s, most), pull_scale, by_pull * pull_inverse),
            (blocks.negatives(), lambda s: ctx.loss.negatives(s, least), push_scale, by_push * push_inverse),
        )
        for side, take, scale, by_total in sides:
            for columns, _, similarities in side:
                part = take(similarities)
                if part.weights is not None:
                    factor = by_total if part.scale is None else by_total * _factor(part.scale, scale)
                    grad[columns] += (part.weights * factor[:, None]).T @ anchors
        return grad.to(refs.dtype)


def _fold(
    anchors: Tensor, loss: PairLoss, blocks: Iterator[tuple[Any, Tensor, Tensor]], take: Callable[[Tensor], Part]
) -> Sum:
    zero = anchors.new_zeros(len(anchors))
    empty = torch.full_like(zero, -torch.inf) if loss.log_space else zero
    extreme = torch.full_like(zero, -torch.inf) if loss.mines else None
    total = Sum(zero, empty, torch.zeros_like(anchors), zero.long(), extreme)
    for _, rows, similarities in blocks:
        part = take(similarities)
        direction = torch.zeros_like(anchors) if part.weights is None else part.weights @ rows
        scale = zero if part.scale is None else part.scale
        total = merge(total, Sum(part.total, scale, direction, part.pairs, part.extreme))
    return total


def _least_positive(blocks: _Blocks) -> Tensor:
    least = blocks.anchors.new_full((len(blocks.anchors),), torch.inf)
    for _, _, similarities in blocks.positives():
        least = torch.minimum(least, similarities.amin(1))
    return least


def _factor(scale: Tensor, new: Tensor) -> Tensor:
    """exp(scale − new), and 0 for an empty sum: −∞ less −∞ is not a number."""
    return torch.where(scale == -torch.inf, 0, (scale - new).exp())


def _value(loss: PairLoss, side: Sum) -> Tensor:
    return side.scale + side.total.log() if loss.log_space else side.total


def _inverse(loss: PairLoss, side: Sum) -> Tensor:
    """What turns the derivative of a total into that of its value: 1, or 1 ÷ total for a logarithm."""
    if not loss.log_space:
        return torch.ones_like(side.total)
    return torch.where(side.total > 0, 1 / side.total, 0)
