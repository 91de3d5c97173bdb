"""The cross-batch memory: the embeddings of past batches, with their labels, images and steps."""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from crossbatch.errors import SettingError, ShapeError, require_one_each
from crossbatch.shapes import Embeddings, Ids, Labels, References, RefIds, RefLabels, RefMask, Slots

STORAGE_DTYPES = (torch.float32, torch.bfloat16, torch.float16)


class Rows(NamedTuple):
    """Rows of a memory: where each is, and what it holds. Slot −1: no such row, its other fields mean nothing."""

    slots: Tensor
    embeddings: Tensor
    labels: Tensor
    ids: Tensor
    steps: Tensor


class InUse(NamedTuple):
    """The memory as a loss reads it, without a copy: every slot in use, and which of them are live."""

    embeddings: References
    labels: RefLabels
    ids: RefIds
    live: RefMask | None  # None: all of them


class CrossBatchMemory(nn.Module):
    """Keeps the last `size` embeddings as unit rows; holes are filled first, then the oldest row goes.

    What it holds equals `collections.deque(maxlen=size)` for any sequence of batch sizes. All state
    lives in buffers, so a checkpoint restores the rows and their order. Rows take no gradient.
    `dtype` (float32, bfloat16 or float16) is how rows are stored, whatever the batches and the model
    are; `model.to(torch.bfloat16)` leaves it alone. Source: Wang et al., CVPR 2020, section 3.3.

    Example:
        >>> memory = CrossBatchMemory(size=3, dim=2)
        >>> slots = memory.enqueue(torch.eye(2), torch.tensor([7, 8]))
        >>> memory.labels
        tensor([7, 8])
    """

    _embeddings: Tensor
    _labels: Tensor
    _ids: Tensor
    _steps: Tensor
    _order: Tensor
    _live: Tensor
    _used: Tensor
    _rows_seen: Tensor
    _batches_seen: Tensor

    def __new__(cls, *arguments: Any, **options: Any) -> "CrossBatchMemory":
        """Meet a call in the manner of pytorch-metric-learning, whose class has the same name, with a clear word."""
        if "embedding_size" in options or "loss" in options or any(isinstance(one, nn.Module) for one in arguments):
            raise SettingError(
                "CrossBatchMemory(size, dim) holds rows and no loss, unlike that of pytorch-metric-learning: "
                "CrossBatchLoss(loss, CrossBatchMemory(size=…, dim=…)) joins the two"
            )
        return super().__new__(cls)

    def __init__(
        self, size: int, dim: int, *, dtype: torch.dtype = torch.float32, device: torch.device | str | None = None
    ) -> None:
        super().__init__()
        if size < 1 or dim < 1:
            raise SettingError(f"a memory needs at least one row and one dimension, got size={size}, dim={dim}")
        if dtype not in STORAGE_DTYPES:
            raise SettingError(f"a memory stores float32, bfloat16 or float16, got {dtype}")
        device = torch.device(device or "cpu")
        self.register_buffer("_embeddings", torch.zeros(size, dim, dtype=dtype, device=device))
        self.register_buffer("_labels", torch.zeros(size, dtype=torch.int64, device=device))
        self.register_buffer("_ids", torch.full((size,), -1, dtype=torch.int64, device=device))
        self.register_buffer("_steps", torch.zeros(size, dtype=torch.int64, device=device))
        # When each slot was written: 0, 1, 2, … A negative order marks a slot that is free. The smallest
        # orders go first, so dropped rows (below −size) are refilled before slots never used (−size … −1),
        # and those, ascending, before the oldest row.
        self.register_buffer("_order", torch.arange(-size, 0, dtype=torch.int64, device=device))
        for counter in ("_live", "_used", "_rows_seen", "_batches_seen"):
            self.register_buffer(counter, torch.zeros((), dtype=torch.int64, device=device))

    @property
    def size(self) -> int:
        """How many rows fit."""
        return self._embeddings.shape[0]

    @property
    def dim(self) -> int:
        """Length of a row."""
        return self._embeddings.shape[1]

    @property
    def nbytes(self) -> int:
        """Bytes that all state takes, full or not."""
        return sum(buffer.numel() * buffer.element_size() for buffer in self.buffers())

    def __len__(self) -> int:
        return int(self._live)

    @property
    def slots(self) -> Tensor:
        """Slot of each live row, in the order of `embeddings`, `labels`, `ids` and `steps`."""
        return (self._order >= 0).nonzero()[:, 0]

    @property
    def embeddings(self) -> References:
        """The live rows, unit length, in the storage dtype; their order means nothing."""
        return self._embeddings[self._selection()]

    @property
    def labels(self) -> RefLabels:
        """Class of each live row."""
        return self._labels[self._selection()]

    @property
    def ids(self) -> RefIds:
        """Image of each live row; −1 where it is not known."""
        return self._ids[self._selection()]

    @property
    def steps(self) -> RefIds:
        """Step that wrote each live row."""
        return self._steps[self._selection()]

    def forward(self, *_: Any, **__: Any) -> None:
        """A memory computes nothing."""
        raise SettingError(
            "a CrossBatchMemory is not called: CrossBatchLoss(loss, memory)(embeddings, labels) compares with it, "
            "memory.enqueue(embeddings, labels) writes to it"
        )

    def columns(self, since: int | None = None) -> InUse:
        """Every slot in use, holes included, as views: what a loss streams over and masks.

        Rows of steps before `since` count as holes; a loss skips those that lie together, as they do in a ring.
        """
        used, live = int(self._used), int(self._live)
        mask = None if used == live else self._order[:used] >= 0
        if since is not None and not bool((fresh := self._steps[:used] >= since).all()):
            mask = fresh if mask is None else mask & fresh
        return InUse(self._embeddings[:used], self._labels[:used], self._ids[:used], mask)

    @torch.no_grad()
    def enqueue(
        self, embeddings: Embeddings, labels: Labels, *, ids: Ids | None = None, step: int | Tensor | None = None
    ) -> Slots:
        """Write a batch, detached and scaled to unit length; return the slot of each row.

        Of a batch larger than the memory only the tail stays; the rows dropped get slot −1. So do rows with an
        infinite value or NaN, as a step in half precision that overflows leaves them: their slots become holes. `ids`
        say which image a row is (−1: unknown); `step` defaults to the number of batches enqueued before this one.
        """
        n = self._check(embeddings, labels, ids)
        kept = min(n, self.size)
        device = self._order.device
        slots = torch.topk(self._order, kept, largest=False, sorted=True).indices
        rows = normalize(embeddings[n - kept :].float()).to(self._embeddings)
        sound = rows.isfinite().all(1)
        self._embeddings[slots] = torch.where(sound[:, None], rows, 0)
        self._labels[slots] = labels[n - kept :].to(self._labels)
        self._ids[slots] = -1 if ids is None else ids[n - kept :].to(self._ids)
        self._steps[slots] = self._batches_seen if step is None else torch.as_tensor(step, device=device)
        newest = self._rows_seen + torch.arange(n - kept, n, device=device)
        self._live += sound.sum() - (self._order[slots] >= 0).sum()
        self._order[slots] = torch.where(sound, newest, self._hole(slots))
        self._used.copy_(torch.cat([self._used[None], slots + 1]).max())
        self._rows_seen += n
        self._batches_seen += 1
        return torch.cat([slots.new_full((n - kept,), -1), torch.where(sound, slots, -1)]).to(labels.device)

    @torch.no_grad()
    def drop(self, slots: Slots) -> None:
        """Forget these rows; the holes are the next to be filled. Slots already free stay so."""
        slots = slots.to(self._order.device).unique()
        slots = slots[(slots >= 0) & (self._order[slots.clamp(min=0)] >= 0)]
        self._order[slots] = self._hole(slots)
        self._live -= len(slots)

    @torch.no_grad()
    def lookup(self, ids: Ids) -> Rows:
        """The newest row of each image, aligned with `ids`; slot −1 where the memory holds none."""
        used = int(self._used) if len(ids) else 0
        wanted, back = ids.to(self._ids.device).unique(return_inverse=True)
        place = torch.searchsorted(wanted, self._ids[:used]).clamp_(max=max(len(wanted) - 1, 0))
        hit = ((wanted[place] == self._ids[:used]) & (self._ids[:used] >= 0) & (self._order[:used] >= 0)).nonzero()
        hit = hit[:, 0]
        newest = torch.full_like(wanted, -1).scatter_reduce(0, place[hit], self._order[hit], "amax")
        slots = torch.full_like(wanted, -1)
        hit = hit[self._order[hit] == newest[place[hit]]]
        slots[place[hit]] = hit
        slots = slots[back]
        fields = (self._embeddings, self._labels, self._ids, self._steps)
        return Rows(slots, *(field[slots.clamp(min=0)] for field in fields))

    def reset(self) -> None:
        """Empty the memory, as if it were new."""
        self.load_state_dict(CrossBatchMemory(self.size, self.dim, dtype=self._embeddings.dtype).state_dict())

    @torch.no_grad()
    def fill(
        self,
        embed: Callable[[Tensor], Tensor],
        batches: Iterable[tuple[Tensor, Tensor, Tensor]],
        *,
        step: int | Tensor | None = None,
    ) -> None:
        """Enqueue `embed(images)` for batches of (images, labels, ids) until as many rows as fit are new.

        Source: the paper fills its memory with randomly drawn training images when the warm-up ends.
        """
        room = self.size
        for images, labels, ids in batches:
            self.enqueue(embed(images[:room]), labels[:room], ids=ids[:room], step=step)
            room -= min(len(labels), room)
            if room == 0:
                return

    def extra_repr(self) -> str:
        """What `print(memory)` says."""
        return f"size={self.size}, dim={self.dim}, dtype={self._embeddings.dtype}"

    def _selection(self) -> slice | Tensor:
        """Index of the live rows: a slice, hence a view, unless there are holes."""
        used = int(self._used)
        return slice(0, used) if used == int(self._live) else self.slots

    def _hole(self, slots: Slots) -> Tensor:
        """The order that marks slots dropped: below that of a slot never used."""
        return slots - 2 * self.size - 1

    def _check(self, embeddings: Tensor, labels: Tensor, ids: Tensor | None) -> int:
        n, dim = embeddings.shape
        if dim != self.dim:
            raise ShapeError(f"this memory holds {self.dim}-d embeddings, got {dim}-d; build it with dim={dim}")
        require_one_each(n, "embeddings", labels=labels, ids=ids)
        return n

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "CrossBatchMemory":
        """Move with the model, but keep the storage dtype when the model changes its own."""
        before = self._embeddings
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        if self._embeddings.dtype != before.dtype:
            self._embeddings = before.to(self._embeddings.device)
        return self
