"""The processes that train one model together: who they are, and what they tell each other, in the order of ranks."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, Self

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from crossbatch.errors import SettingError
from crossbatch.launched import started, trains


class Gathered(NamedTuple):
    """The batches of all processes as one, in the order of ranks; `own`: which of its rows are this process's.

    `share` is what the mean over own rows counts for, so that the mean over the processes of what each so weighs is
    the mean over all rows.
    """

    embeddings: Tensor
    labels: Tensor
    ids: Tensor | None
    own: slice
    share: float


class Processes:
    """The members of a process group; by default of all processes, and just this one where there is no group.

    Every method that exchanges something must be called by all of them together. Where there is one process nothing is
    exchanged, and a tensor comes back as it was given.
    """

    def __init__(self, group: Any = None) -> None:
        self.group = group

    def __deepcopy__(self, _: Any) -> "Processes":
        """A group is shared, not copied."""
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        """A group is not saved: who reads this has his own."""
        return Processes, ()

    @property
    def count(self) -> int:
        """How many there are."""
        if trains():
            return dist.get_world_size(self.group)
        if (count := started()) > 1:
            raise SettingError(
                f"{count} processes were started, and they do not know of each other: call "
                "torch.distributed.init_process_group() before the first step, as Lightning does by itself"
            )
        return 1

    @property
    def rank(self) -> int:
        """Which of them this is, from 0."""
        return dist.get_rank(self.group) if self.count > 1 else 0

    def part(self, length: int) -> slice:
        """Which of so many things fall to this process: a run of them, as long as that of another, give or take one."""
        return part(length, self.rank, self.count)

    def gather(self, embeddings: Tensor, labels: Tensor, ids: Tensor | None = None) -> Gathered:
        """The batches of all processes, of any sizes; in the backward pass own rows get what they cause everywhere.

        Their gradient comes out `count` times as large, since it is averaged over the processes later. Known ids of
        one process make those of another that gives none −1.
        """
        count, n = self.count, len(embeddings)
        if count == 1:
            return Gathered(embeddings, labels, ids, slice(0, n), 1.0)
        learns = embeddings.requires_grad and torch.is_grad_enabled()
        told = torch.tensor([n, ids is not None, learns], device=embeddings.device)
        sizes, known, learning = self.stack(told).T.tolist()
        if any(learning) and not all(learning):
            raise SettingError(
                f"the embeddings of {learning.count(0)} of {count} processes take no gradient, those of the others do: "
                "an empty batch goes through the network too"
            )
        numbers = torch.stack([labels, torch.full_like(labels, -1) if ids is None else ids], 1).to(embeddings.device)
        flat = embeddings.detach().contiguous()
        rows = self._rows(torch.cat([flat.view(torch.uint8), numbers.view(torch.uint8)], 1), sizes)
        width = rows.shape[1] - 2 * numbers.element_size()
        every = rows[:, :width].contiguous().view(flat.dtype)
        labels, found = rows[:, width:].contiguous().view(torch.int64).unbind(1)
        first = sum(sizes[: self.rank])
        put: Tensor = _OwnRows.apply(embeddings, every, first, count)
        own = slice(first, first + n)
        share = count * n / len(rows) if len(rows) else 1.0
        return Gathered(put, labels.contiguous(), found.contiguous() if any(known) else None, own, share)

    def gather_rows(self, rows: Tensor) -> Tensor:
        """Rows [rows, …] of all processes, of which each may have another number, without gradient."""
        if self.count == 1:
            return rows
        return self._rows(rows.detach(), self._sizes(rows))

    def gather_columns(self, columns: Tensor) -> Tensor:
        """Columns [anchors, columns] of all processes, any number of each; own ones take gradient, as given to all."""
        own, sizes = columns.T, self._sizes(columns.T)
        every: Tensor = _OwnRows.apply(own, self._rows(own.detach(), sizes), sum(sizes[: self.rank]), 1)
        return every.T

    def stack(self, one: Tensor) -> Tensor:
        """A tensor of each process, all of one shape: [processes, …]."""
        if self.count == 1:
            return one[None]
        sent = self._sent(one)
        stacked = sent.new_empty(self.count, *one.shape)
        dist.all_gather(list(stacked), sent, group=self.group)
        return stacked.to(one.device)

    def sum(self, one: Tensor) -> Tensor:
        """The sum over the processes of a tensor of one shape, the same on all of them."""
        return self._reduced(one, "SUM")

    def least(self, one: Tensor) -> Tensor:
        """The least over the processes."""
        return self._reduced(one, "MIN")

    def greatest(self, one: Tensor) -> Tensor:
        """The greatest over the processes."""
        return self._reduced(one, "MAX")

    def of_first(self, one: Tensor) -> Tensor:
        """What the first process has."""
        if self.count == 1:
            return one
        sent = self._sent(one).clone()
        dist.broadcast(sent, group=self.group, group_src=0)
        return sent.to(one.device)

    def _reduced(self, one: Tensor, how: str) -> Tensor:
        if self.count == 1:
            return one
        sent = self._sent(one).clone()
        dist.all_reduce(sent, getattr(dist.ReduceOp, how), group=self.group)
        return sent.to(one.device)

    def _sent(self, one: Tensor) -> Tensor:
        """As it can be sent: NCCL takes nothing that is not on a GPU."""
        on_gpu = one.device.type == "cpu" and dist.get_backend(self.group) == "nccl"
        return (one.cuda() if on_gpu else one).contiguous()

    def _sizes(self, rows: Tensor) -> list[int]:
        """How many rows each process has."""
        sizes: list[int] = self.stack(torch.tensor([len(rows)], device=rows.device))[:, 0].tolist()
        return sizes

    def _rows(self, rows: Tensor, sizes: list[int]) -> Tensor:
        """Gather rows of which each process has so many: padded and cut, since what is sent must be of one size."""
        padded = rows.new_zeros(max(sizes), *rows.shape[1:])
        padded[: len(rows)] = rows
        every = self.stack(padded) if max(sizes) else padded[None].expand(len(sizes), *padded.shape)
        return torch.cat([some[:size] for some, size in zip(every, sizes, strict=True)])


class _OwnRows(torch.autograd.Function):
    """What was gathered, of which the own rows take gradient."""

    @staticmethod
    def forward(ctx: Any, own: Tensor, every: Tensor, first: int, count: int) -> Tensor:
        """Own rows came back as they were sent."""
        ctx.own, ctx.count = slice(first, first + len(own)), count
        return every

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, by: Tensor) -> tuple[Tensor | None, ...]:
        """By own rows."""
        return by[ctx.own] * ctx.count, None, None, None


class KeepsTypes(nn.Module):
    """A module whose buffers keep their types where `half()` or `to(torch.bfloat16)` changes those of the model."""

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        before = dict(self._buffers)
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        for name, was in before.items():
            now = self._buffers[name]
            if was is not None and now is not None and now.dtype != was.dtype:
                self._buffers[name] = was.to(now.device)
        return self


class Apart(KeepsTypes):
    """A module that is passed over by who walks the modules above it, while `state_dict` and `to` reach it.

    DistributedDataParallel finds what it broadcasts at every step by such a walk: the memory would cost its size in
    bytes a step, and the rows of one process would overwrite those of another.
    """

    def named_modules(
        self, memo: set[nn.Module] | None = None, prefix: str = "", remove_duplicate: bool = True
    ) -> Iterator[tuple[str, nn.Module]]:
        """Nothing where a module above asks, which hands its memo down; else as any module."""
        if memo is None:
            yield from super().named_modules(None, prefix, remove_duplicate)


def part(length: int, rank: int, count: int) -> slice:
    """The run of so many things that falls to a process."""
    return slice(rank * length // count, (rank + 1) * length // count)
