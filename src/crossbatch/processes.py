"""The processes that train one model together: their ranks, and the exchange of tensors in the order of ranks."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, Self

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from crossbatch.errors import SettingError
from crossbatch.launched import started, trains

NOTHING: Mapping[str, int] = {}


class Gathered(NamedTuple):
    """The batches of all processes as one batch, in the order of ranks; `own`: the rows of this process.

    `share` weights a mean over the own rows: the average over the processes of these weighted means is the mean over
    all rows.
    """

    embeddings: Tensor
    labels: Tensor
    ids: Tensor | None
    own: slice
    share: float


class Processes:
    """The members of a process group; by default all processes, and only this one if no group is initialized.

    All members must call a method that exchanges tensors together. With one process nothing is exchanged, and a method
    returns the tensor that it was given.
    """

    def __init__(self, group: Any = None) -> None:
        self.group = group

    def __deepcopy__(self, _: Any) -> "Processes":
        """A group is shared, not copied."""
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        """A group is not pickled: the process that loads this has its own."""
        return Processes, ()

    @property
    def count(self) -> int:
        """Number of processes in the group."""
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
        """Rank of this process in the group, from 0."""
        return dist.get_rank(self.group) if self.count > 1 else 0

    def part(self, length: int) -> slice:
        """Slice of `length` things for this process; the lengths of all slices differ by at most one."""
        return part(length, self.rank, self.count)

    def gather(
        self, embeddings: Tensor, labels: Tensor, ids: Tensor | None = None, alike: Mapping[str, int] = NOTHING
    ) -> Gathered:
        """Gather the batches of all processes, of any sizes; gradient flows to the own rows.

        In the backward pass the gradient of the own rows is multiplied by `count`, since DistributedDataParallel
        averages gradients over the processes later. If only some processes pass ids, those of the others are −1.
        `alike`: numbers by name that must be the same in all processes.
        """
        count, n = self.count, len(embeddings)
        if count == 1:
            return Gathered(embeddings, labels, ids, slice(0, n), 1.0)
        learns = embeddings.requires_grad and torch.is_grad_enabled()
        kind = embeddings.element_size() * (1 if learns else -1)
        header = torch.tensor([n, ids is not None, kind, *alike.values()], device=embeddings.device)
        sizes, have_ids, kinds, *numbers = self.stack(header).T.tolist()
        for name, values in zip(alike, numbers, strict=True):
            if len(set(values)) > 1:
                told = ", ".join(map(str, values))
                raise SettingError(f"{name} differs between the processes ({told}): make it the same in all of them")
        if len(set(map(abs, kinds))) > 1:
            raise SettingError("embeddings are float32 in some processes and float64 in others: cast them alike")
        learning = [kind > 0 for kind in kinds]
        if any(learning) and not all(learning):
            raise SettingError(
                f"in {learning.count(0)} of {count} processes embeddings require no gradient, in the others they do: "
                "pass an empty batch through the network too"
            )
        integers = torch.stack([labels, torch.full_like(labels, -1) if ids is None else ids], 1).to(embeddings.device)
        flat = embeddings.detach().contiguous()
        rows = self._rows(torch.cat([flat.view(torch.uint8), integers.view(torch.uint8)], 1), sizes)
        width = rows.shape[1] - 2 * integers.element_size()
        all_embeddings = rows[:, :width].contiguous().view(flat.dtype)
        labels, gathered_ids = rows[:, width:].contiguous().view(torch.int64).unbind(1)
        first = sum(sizes[: self.rank])
        gathered: Tensor = _OwnRows.apply(embeddings, all_embeddings, first, count)
        own = slice(first, first + n)
        share = count * n / len(rows) if len(rows) else 1.0
        return Gathered(gathered, labels.contiguous(), gathered_ids.contiguous() if any(have_ids) else None, own, share)

    def gather_rows(self, rows: Tensor) -> Tensor:
        """Gather rows [rows, …] of all processes, each with any number of rows; without gradient."""
        if self.count == 1:
            return rows
        return self._rows(rows.detach(), self._sizes(rows))

    def gather_columns(self, columns: Tensor) -> Tensor:
        """Gather columns [anchors, columns] of all processes, each with any number; own columns get gradient.

        Their gradient is not multiplied by `count`.
        """
        own, sizes = columns.T, self._sizes(columns.T)
        every: Tensor = _OwnRows.apply(own, self._rows(own.detach(), sizes), sum(sizes[: self.rank]), 1)
        return every.T

    def stack(self, one: Tensor) -> Tensor:
        """Stack a tensor of each process, all of the same shape: [processes, …]."""
        if self.count == 1:
            return one[None]
        sent = self._sent(one)
        stacked = sent.new_empty(self.count, *one.shape)
        dist.all_gather(list(stacked), sent, group=self.group)
        return stacked.to(one.device)

    def sum(self, one: Tensor) -> Tensor:
        """Sum a tensor of the same shape over the processes; all get the same result."""
        return self._reduced(one, "SUM")

    def least(self, one: Tensor) -> Tensor:
        """Elementwise minimum over the processes."""
        return self._reduced(one, "MIN")

    def greatest(self, one: Tensor) -> Tensor:
        """Elementwise maximum over the processes."""
        return self._reduced(one, "MAX")

    def of_first(self, one: Tensor) -> Tensor:
        """The tensor of the first process."""
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
        """Make a tensor contiguous and, for NCCL, move it to the GPU, since NCCL sends no tensors from the CPU."""
        on_gpu = one.device.type == "cpu" and dist.get_backend(self.group) == "nccl"
        return (one.cuda() if on_gpu else one).contiguous()

    def _sizes(self, rows: Tensor) -> list[int]:
        """Number of rows in each process."""
        sizes: list[int] = self.stack(torch.tensor([len(rows)], device=rows.device))[:, 0].tolist()
        return sizes

    def _rows(self, rows: Tensor, sizes: list[int]) -> Tensor:
        """Gather rows, `sizes` of them from each process: padded and cut, since all must send tensors of one size."""
        padded = rows.new_zeros(max(sizes), *rows.shape[1:])
        padded[: len(rows)] = rows
        stacked = self.stack(padded) if max(sizes) else padded[None].expand(len(sizes), *padded.shape)
        return torch.cat([piece[:size] for piece, size in zip(stacked, sizes, strict=True)])


class _OwnRows(torch.autograd.Function):
    """Return gathered rows; gradient flows to those of this process."""

    @staticmethod
    def forward(ctx: Any, own: Tensor, every: Tensor, first: int, count: int) -> Tensor:
        """Return `every`, whose own rows equal `own`."""
        ctx.own, ctx.count = slice(first, first + len(own)), count
        return every

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, by: Tensor) -> tuple[Tensor | None, ...]:
        """Gradient of the own rows, times `count`."""
        return by[ctx.own] * ctx.count, None, None, None


class KeepsTypes(nn.Module):
    """A module whose buffers keep their dtypes when `half()` or `to(torch.bfloat16)` converts the model."""

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        before = dict(self._buffers)
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        for name, old in before.items():
            new = self._buffers[name]
            if old is not None and new is not None and new.dtype != old.dtype:
                self._buffers[name] = old.to(new.device)
        return self


class Apart(KeepsTypes):
    """A module that `modules()` and `buffers()` of its parent skip, while `state_dict` and `to` reach it.

    DistributedDataParallel finds the buffers that it broadcasts at every step with these methods. It would send the
    whole memory at every step, and the rows of one process would overwrite those of the others.
    """

    def named_modules(
        self, memo: set[nn.Module] | None = None, prefix: str = "", remove_duplicate: bool = True
    ) -> Iterator[tuple[str, nn.Module]]:
        """Yield nothing if a parent asks, which passes a memo; otherwise as any module does."""
        if memo is None:
            yield from super().named_modules(None, prefix, remove_duplicate)


def part(length: int, rank: int, count: int) -> slice:
    """Slice of `length` things for the process with this rank."""
    return slice(rank * length // count, (rank + 1) * length // count)
