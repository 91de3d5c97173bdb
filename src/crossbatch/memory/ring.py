"""The cross-batch memory: a ring buffer of past embeddings with their labels, image ids and steps."""

import operator
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize, pad

from crossbatch.errors import SettingError, ShapeError
from crossbatch.launched import started, started_rank
from crossbatch.memory.rows import InUse, Rows, carried
from crossbatch.memory.shard import AT_ONCE, Shard
from crossbatch.processes import Apart, Processes
from crossbatch.shapes import (
    Embeddings,
    Ids,
    Labels,
    References,
    RefIds,
    RefLabels,
    Slots,
    on_cpu,
    require_one_each,
    require_rows,
)

STORAGE_DTYPES = (torch.float32, torch.bfloat16, torch.float16)
EMPTY = {"_embeddings": 0, "_labels": 0, "_ids": -1, "_steps": -1}  # values of a slot that was never written


class CrossBatchMemory(Apart):
    """A ring buffer that keeps the last `size` embeddings as unit rows.

    Its contents equal those of `collections.deque(maxlen=size)` for any sequence of batch sizes. All state lives in
    buffers, so a checkpoint restores the rows and their order. Rows get no gradient. Rows are stored in `dtype`,
    whatever the dtype of batches and model; `model.to(torch.bfloat16)` does not change it.
    Source: Wang et al., CVPR 2020, section 3.3.

    When several processes train together, each enqueues the batches of all processes in the same order, as
    `CrossBatchLoss` does, so all hold the same rows. With `sharded` each process keeps and reports only its share of
    the rows. `state_dict()` then gathers the whole memory, so all processes must call it together. The state loads with
    or without `sharded`, on any number of processes. If a model contains a memory, `model.modules()` and
    `model.buffers()` skip it.

    Args:
        size: Number of rows that fit; a row takes `dim` numbers and 24 bytes.
        dim: Length of a row.
        dtype: How rows are stored: float32, bfloat16 or float16.
        device: Device of the rows; the memory moves with the module that contains it.
        sharded: Each of several processes keeps its share of the rows; otherwise each keeps all rows.

    Raises:
        SettingError: A size or dim below 1, or another dtype.

    Examples:
        >>> memory = CrossBatchMemory(size=3, dim=2)
        >>> slots = memory.enqueue(torch.eye(2), torch.tensor([7, 8]))
        >>> memory.labels
        tensor([7, 8])
    """

    _embeddings: Tensor
    _labels: Tensor
    _ids: Tensor
    _steps: Tensor
    _written: Tensor
    _batches: Tensor

    def __new__(cls, *arguments: Any, **options: Any) -> "CrossBatchMemory":
        """Refuse arguments of pytorch-metric-learning's class of the same name, and name the equivalent here."""
        if "embedding_size" in options or "loss" in options or any(isinstance(arg, nn.Module) for arg in arguments):
            raise SettingError(
                "CrossBatchMemory(size, dim) holds rows and no loss, unlike that of pytorch-metric-learning: "
                "CrossBatchLoss(loss, CrossBatchMemory(size=…, dim=…)) joins the two"
            )
        return super().__new__(cls)

    def __init__(
        self,
        size: int,
        dim: int,
        *,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str | None = None,
        sharded: bool = False,
    ) -> None:
        super().__init__()
        if not all(hasattr(number, "__index__") and number >= 1 for number in (size, dim)):
            raise SettingError(f"size and dim of a memory are whole numbers of at least 1, got {size!r} and {dim!r}")
        if dtype not in STORAGE_DTYPES:
            given = repr(dtype) if isinstance(dtype, str) else dtype
            raise SettingError(f"a memory stores torch.float32, torch.bfloat16 or torch.float16, got {given}")
        self.processes, self.sharded = Processes(), sharded
        self.shard = Shard(started_rank(), started(), size) if sharded else Shard(0, 1, size)
        self._allocate(dim, dtype, torch.device(device or "cpu"))
        for counter in ("_written", "_batches"):
            self.register_buffer(counter, torch.zeros((), dtype=torch.int64, device=device))

    def _allocate(self, dim: int, dtype: torch.dtype, device: torch.device) -> None:
        rows = self.shard.rows
        self.register_buffer("_embeddings", torch.zeros(rows, dim, dtype=dtype, device=device))
        # A step of −1 marks a slot without a row: it was never written, or its row was zero or not finite.
        for name in ("_labels", "_ids", "_steps"):
            self.register_buffer(name, torch.full((rows,), EMPTY[name], dtype=torch.int64, device=device))

    @property
    def size(self) -> int:
        """Number of rows that fit, in all processes together."""
        return self.shard.size

    @property
    def capacity(self) -> int:
        """Number of rows that fit in this process."""
        return self.shard.capacity

    @property
    def dim(self) -> int:
        """Length of a row."""
        return self._embeddings.shape[1]

    @property
    def nbytes(self) -> int:
        """Bytes of all buffers; the same whether the memory is full or empty."""
        return sum(buffer.numel() * buffer.element_size() for buffer in self.buffers())

    def __len__(self) -> int:
        return int((self._steps >= 0).sum())

    def __bool__(self) -> bool:
        """True, as for any module; to ask whether the memory is empty, use `len(memory) == 0`."""
        return True

    @property
    def slots(self) -> Tensor:
        """Slot of each live row, in the order of `embeddings`, `labels`, `ids` and `steps`."""
        return (self._steps >= 0).nonzero()[:, 0]

    @property
    def embeddings(self) -> References:
        """The live rows, of unit length, in the storage dtype; their order has no meaning.

        Like `labels`, `ids` and `steps` it may be a view, which the next batch changes: clone what is to be kept.
        """
        return self._embeddings[self._selection()]

    @property
    def labels(self) -> RefLabels:
        """Label of each live row."""
        return self._labels[self._selection()]

    @property
    def ids(self) -> RefIds:
        """Image id of each live row; −1 if unknown."""
        return self._ids[self._selection()]

    @property
    def steps(self) -> RefIds:
        """Step that wrote each live row."""
        return self._steps[self._selection()]

    def forward(self, *_: Any, **__: Any) -> None:
        """Refuse the call and name the methods to use instead."""
        raise SettingError(
            "a CrossBatchMemory is not called: CrossBatchLoss(loss, memory)(embeddings, labels) compares with it, "
            "memory.enqueue(embeddings, labels) writes to it"
        )

    def in_use(self, since: int | Tensor = 0) -> InUse:
        """Views of the slots that a loss reads, and a mask of those whose row was written at step `since` or later.

        On a GPU these are all slots, since asking how many hold a row would wait for the device.
        """
        self._settle()
        since = torch.as_tensor(since, device=self._steps.device).clamp(min=0)
        if self._steps.device.type != "cpu":
            return InUse(self._embeddings, self._labels, self._ids, self._steps >= since)
        used = self.shard.used(int(self._written))
        live = self._steps[:used] >= since
        return InUse(self._embeddings[:used], self._labels[:used], self._ids[:used], None if live.all() else live)

    @torch.no_grad()
    def enqueue(
        self, embeddings: Embeddings, labels: Labels, *, ids: Ids | None = None, step: int | Tensor | None = None
    ) -> Slots:
        """Write a batch, detached and scaled to unit length; return the slot of each row.

        If a batch is larger than the memory, only its last rows stay; the dropped rows get slot −1. A row of zeros, or
        with an infinite value or NaN, also gets slot −1 and is never compared with; such rows can come from an overflow
        in half precision. With several processes all must pass the same rows. In a sharded memory a row that another
        process keeps has slot −1 here.

        Args:
            embeddings: Float [batch, dim].
            labels: Class of each row, int64 [batch].
            ids: Image of each row, int64 [batch]; −1 is unknown.
            step: Step that writes the rows, at least 0; by default the number of batches enqueued before.

        Raises:
            ShapeError: Rows have another length, or labels or ids are not int64 with one per row.
        """
        n = self.check(embeddings, labels, ids)
        if step is not None and (not isinstance(step, Tensor) or on_cpu(step)):
            if not hasattr(step, "__index__") or operator.index(step) < 0:
                raise SettingError(f"a row is written at a step of at least 0, got {step}")
            step = operator.index(step)
        kept = min(n, self.size)
        rows = normalize(embeddings[n - kept :].float()).nan_to_num_(0.0).to(self._embeddings)
        lost = torch.linalg.vector_norm(rows, dim=1) < 0.7  # a valid row has length 1, up to rounding
        slots = torch.arange(n - kept, n, device=rows.device).add_(self._written).remainder_(self.size)
        if self.shard.parts > 1:
            slots, here = self.shard.own(slots)
            lost |= ~here
        self._embeddings[slots] = rows
        self._labels[slots] = labels[n - kept :].to(self._labels)
        self._ids[slots] = ids[n - kept :].to(self._ids) if ids is not None else torch.full_like(slots, -1)
        now = self._batches if step is None else torch.as_tensor(step, device=rows.device)
        self._steps[slots] = now.expand(kept).masked_fill(lost, -1)
        self._written += n
        self._batches += 1
        return pad(slots.masked_fill(lost, -1), (n - kept, 0), value=-1).to(labels.device)

    @torch.no_grad()
    def lookup(self, ids: Ids) -> Rows:
        """Find the newest row of each image, aligned with `ids`; slot −1 if the memory holds none."""
        require_one_each(len(ids) if isinstance(ids, Tensor) and ids.ndim else 0, "images", ids=ids)
        self._settle()
        wanted, inverse = ids.to(self._ids.device).unique(return_inverse=True)
        position = torch.searchsorted(wanted, self._ids).clamp_(max=max(len(wanted) - 1, 0))
        hit = (self._ids >= 0) & (self._steps >= 0)
        hit = hit.nonzero()[:, 0] if len(ids) else hit.new_empty(0, dtype=torch.int64)
        hit = hit[wanted[position[hit]] == self._ids[hit]]
        age = (self.shard.in_ring(hit) - self._written).remainder(self.size)  # greatest for the newest row
        newest = torch.full_like(wanted, -1).scatter_reduce(0, position[hit], age, "amax")
        newest_slots = (newest + self._written).remainder(self.size) // self.shard.parts
        slots = torch.where(newest < 0, -1, newest_slots)[inverse]
        fields = (self._embeddings, self._labels, self._ids, self._steps)
        return Rows(slots, *(field[slots.clamp(min=0)] for field in fields))

    @torch.no_grad()
    def carry(self, motion: Tensor, since: int | Tensor, now: int | Tensor) -> None:
        """Move every row by `motion` [dim, dim], the map that embeddings followed from step `since` to step `now`.

        A row becomes `row @ motion`, scaled to unit length again. A row written in between moves only by the share of
        the steps after it. See `following`.
        """
        if motion.shape != (self.dim, self.dim):
            raise ShapeError(f"rows of {self.dim} dimensions need a motion [dim, dim], got {list(motion.shape)}")
        motion = motion.to(self._embeddings.device, torch.float32)
        steps = torch.as_tensor(now - since, device=self._steps.device).clamp(min=1)
        share = ((now - self._steps) / steps).clamp(0, 1)
        for first in range(0, self.shard.rows, AT_ONCE):
            piece = slice(first, first + AT_ONCE)
            self._embeddings[piece] = carried(self._embeddings[piece], motion, share[piece])

    def reset(self) -> None:
        """Empty the memory: afterwards it equals a new one."""
        for name, buffer in self.named_buffers():
            buffer.fill_(EMPTY.get(name, 0))

    @torch.no_grad()
    def fill(
        self,
        embed: Callable[[Tensor], Tensor],
        batches: Iterable[tuple[Tensor, Tensor, Tensor | None]],
        *,
        step: int | Tensor | None = None,
    ) -> None:
        """Enqueue `embed(images)` for batches of (images, labels, ids) until every row of the memory is new.

        `ids` may be None.

        Source: the paper fills its memory with randomly drawn training images when the warm-up ends.
        """
        room = self.size
        for images, labels, ids in batches:
            self.enqueue(embed(images[:room]), labels[:room], ids=None if ids is None else ids[:room], step=step)
            room -= min(len(labels), room)
            if room == 0:
                return

    def extra_repr(self) -> str:
        """Text of `print(memory)`."""
        sharded = f", shard {self.shard.number} of {self.shard.parts}" if self.sharded else ""
        return f"size={self.size}, dim={self.dim}, dtype={self._embeddings.dtype}{sharded}"

    def _selection(self) -> slice | Tensor:
        """Index of the live rows: a slice, which gives a view, if they are contiguous."""
        used = self.shard.used(int(self._written))
        return slice(0, used) if used == len(self) else self.slots

    def check(self, embeddings: Tensor, labels: Tensor, ids: Tensor | None) -> int:
        """Return the number of rows; raise `ShapeError` if embeddings, labels or ids do not fit this memory."""
        require_rows("embeddings", embeddings)
        n, dim = embeddings.shape
        if dim != self.dim:
            raise ShapeError(f"this memory holds {self.dim}-d embeddings, got {dim}-d; build it with dim={dim}")
        require_one_each(n, "embeddings", labels=labels, ids=ids)
        self._settle()
        return n

    def _settle(self) -> None:
        """Settle which share this process keeps, at first use: when a memory is built, the rank may be unknown yet."""
        if not self.sharded or (self.processes.rank, self.processes.count) == self.shard[:2]:
            return
        if int(self._written):
            raise SettingError(
                f"this memory holds shard {self.shard.number} of {self.shard.parts}, and there are "
                f"{self.processes.count} processes now: load a state_dict() into a memory that is built anew"
            )
        self.shard = Shard(self.processes.rank, self.processes.count, self.size)
        self._allocate(self.dim, self._embeddings.dtype, self._embeddings.device)

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        """Save the whole memory, gathered from all processes."""
        super()._save_to_state_dict(destination, prefix, keep_vars)
        if self.shard.parts > 1:
            for name in EMPTY:
                destination[prefix + name] = self.shard.whole(destination[prefix + name], self.processes)

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *rest: Any) -> None:
        """Load the rows that this process keeps."""
        self._settle()
        rows = state_dict.get(prefix + "_embeddings")
        if rows is not None and rows.shape not in ((self.size, self.dim), self._embeddings.shape):
            mismatch = (
                f"the state is of a memory of size={len(rows)}, dim={rows.shape[-1]}, this one is {self.extra_repr()}"
            )
            rest[-1].append(f"{mismatch}: build the memory as it was saved, or leave its state out")
        for name, empty in EMPTY.items() if self.shard.parts > 1 else ():
            whole = state_dict.get(prefix + name)
            if whole is not None and len(whole) == self.size:
                state_dict[prefix + name] = self.shard.of_whole(whole, empty)
        super()._load_from_state_dict(state_dict, prefix, *rest)
