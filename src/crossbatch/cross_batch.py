"""A loss and a memory together: the module that users call in their training step."""

import math
import warnings
from numbers import Real
from typing import Any

import torch
from torch import Tensor, nn

from crossbatch.errors import SettingError
from crossbatch.losses import Pairing
from crossbatch.losses.any_loss import comparing
from crossbatch.memory import CrossBatchMemory
from crossbatch.processes import Gathered, KeepsTypes, Processes
from crossbatch.shapes import Embeddings, Ids, Labels, Scalar, on_cpu, unit
from crossbatch.uncompiled import eagerly

FOREVER = 2**62  # steps
FORGOTTEN = (
    "CrossBatchLoss is in training mode under no_grad, so this batch enters the memory: call loss_fn.eval() to validate"
)


def _number(name: str, value: Any) -> Any:
    if hasattr(value, "item") and math.prod(value.shape) == 1:  # of torch or NumPy
        value = value.item()
    if not isinstance(value, Real):
        raise SettingError(f"{name} is a number, got {value!r}")
    return value


def _is_like(value: Any, before: Tensor) -> bool:
    """Whether it is the buffer itself, which `+=` sets, or one in its place on a GPU, which is not read."""
    fits = isinstance(value, Tensor) and value.shape == before.shape and value.dtype == before.dtype
    return value is before or (fits and not on_cpu(value))


def _weight(name: str, value: Any) -> float:
    if not 0 <= (value := _number(name, value)) < math.inf:
        raise SettingError(f"weights are finite and not negative, got {name}={value}")
    return float(value)


def _steps(name: str, value: Any) -> int:
    if not float(value := _number(name, value)).is_integer() or value > FOREVER:
        raise SettingError(f"{name} is a whole number of steps, got {value}")
    if value < 0:
        raise SettingError(f"{name} must not be negative, got {value}")
    return int(value)


CHECKED: dict[str, Any] = {
    "memory_weight": _weight,
    "batch_weight": _weight,
    "step": _steps,
    "start": _steps,
    "max_age": _steps,
}


class CrossBatchLoss(KeepsTypes):
    """`batch_weight` × the loss within the batch + `memory_weight` × the loss of the batch against the memory.

    `loss` is a pair loss of this package, a subclass of `PairLoss`, or any module that is called
    `(embeddings, labels, ref_emb=, ref_labels=)`. Each training call compares the batch with the rows of earlier
    batches and then enqueues it. Anchors without a positive in the memory enter the mean as 0: they would only
    be pushed away from where others were. With `earlier_only=False`, as in the authors' code, the batch is enqueued
    first, so that its rows are in the memory term too, all but the anchor's own, and every anchor counts. Rows of the
    same image are ignored where `ids` tell.

    The first `warmup_steps` calls fill the memory but return the batch term alone, at weight 1. In `eval()` nothing is
    enqueued and no step is counted; the newest row is then one step old, as in the last training call. Both weights,
    the step from which the memory counts (`start`) and the age in steps up to which rows count (`max_age`) are buffers,
    which may be set, as `loss_fn.memory_weight = 0.5`. `stats` describes the last call: the value of both terms, the
    positives and negatives per anchor of the batch that count in each, and the share of anchors that count against the
    memory. On a GPU both terms are computed during the warm-up too, so that no step waits for the device.

    A memory has one `CrossBatchLoss`: a second would compare a batch with its own rows, which the first has written.

    Where several processes train, which are found at the first call or given as a process `group`, all of them call
    together, with batches of any sizes: the batch is then that of all, in the order of ranks, and so is what the memory
    holds. The mean over the processes of the gradients, which DistributedDataParallel takes, is the gradient of one
    process on the whole batch; that of the values is its loss. Parameters of a loss must be averaged with those of the
    network. Each process compares its own batch with the memory. Where the memory is sharded, each compares the batch
    of all with the rows that it keeps, and what these add up to is put together; for that it must be a loss of ours.

    Source: Wang et al., CVPR 2020; the weighted sum is that of the authors' code.

    Args:
        loss: A pair loss, or any module called `(embeddings, labels, ref_emb=, ref_labels=)`.
        memory: What the batch is compared with, and written to.
        memory_weight: Weight of the memory term, at least 0.
        batch_weight: Weight of the batch term once the memory counts, at least 0.
        warmup_steps: Training calls in which the memory fills and does not count.
        earlier_only: Compare with rows of earlier batches alone, and count only anchors with a positive there.
        group: Process group that trains together; by default all processes.

    Raises:
        SettingError: A weight or `warmup_steps` is negative.

    Examples:
        >>> loss_fn = CrossBatchLoss(ContrastiveLoss(), CrossBatchMemory(size=60_000, dim=128))
        >>> loss = loss_fn(embeddings, labels, ids=ids)
    """

    memory_weight: Tensor
    batch_weight: Tensor
    step: Tensor
    start: Tensor
    max_age: Tensor

    def __init__(
        self,
        loss: nn.Module,
        memory: CrossBatchMemory,
        *,
        memory_weight: float = 1.0,
        batch_weight: float = 1.0,
        warmup_steps: int = 0,
        earlier_only: bool = True,
        group: Any = None,
    ) -> None:
        super().__init__()
        memory_weight, batch_weight = _weight("memory_weight", memory_weight), _weight("batch_weight", batch_weight)
        warmup_steps = _steps("warmup_steps", warmup_steps)
        if not isinstance(memory, CrossBatchMemory):
            raise SettingError(f"CrossBatchLoss(loss, memory) takes a CrossBatchMemory, got {type(memory).__name__}")
        self.loss = comparing(loss)
        self.memory = memory
        if group is not None:
            memory.processes = Processes(group)
        self.earlier_only = earlier_only
        self._last: dict[str, Tensor] = {}
        self.register_buffer("memory_weight", torch.tensor(memory_weight))
        self.register_buffer("batch_weight", torch.tensor(batch_weight))
        for name, value in {"step": 0, "start": warmup_steps, "max_age": FOREVER}.items():
            self.register_buffer(name, torch.tensor(value, dtype=torch.int64))

    def __setattr__(self, name: str, value: Any) -> None:
        """Take plain numbers for the weights, `step`, `start` and `max_age`."""
        before = self._buffers.get(name) if name in CHECKED else None
        if before is not None and not _is_like(value, before):
            value = CHECKED[name](name, value)
            with torch.inference_mode(False):  # as in a callback of Lightning's validation
                value = torch.full_like(before, value)
        super().__setattr__(name, value)

    @property
    def memory_is_on(self) -> bool:
        """Whether the next call compares with the memory."""
        return bool(self.step >= self.start)

    @eagerly
    def forward(self, embeddings: Embeddings, labels: Labels, *, ids: Ids | None = None) -> Scalar:
        """Loss of a batch of embeddings [batch, dim] with their labels and, if known, images.

        Args:
            embeddings: Float [batch, dim]; gradient flows to them. Several processes may give batches of any sizes.
            labels: Class of each, int64 [batch].
            ids: Image of each, int64 [batch]; −1 is unknown.

        Raises:
            ShapeError: Labels or ids are not one a row or not int64, or rows are not as long as those of the memory.
        """
        self.memory.check(embeddings, labels, ids)
        if self.training and not torch.is_grad_enabled():
            warnings.warn(FORGOTTEN, stacklevel=5)  # the line that calls the loss
        if self.memory.shard.parts > 1 and not self.loss.mean_over_anchors:
            raise SettingError(
                f"a sharded memory takes a loss of this package, whose sums can be put together, and not "
                f"{type(getattr(self.loss, 'loss', self.loss)).__name__}: subclass PairLoss, or leave the memory whole"
            )
        anchors = unit(embeddings)
        batch = self.memory.processes.gather(anchors, labels, ids)
        within = Pairing.within(batch.labels, batch.ids)
        loss = self.loss.compare(batch.embeddings, batch.embeddings, within)
        self._last = {"batch_loss": loss.detach(), **self._counts("batch")}
        on, known = self.step >= self.start, on_cpu(self.step)
        since = self.step - self.max_age - int(not self.training)
        own_slots = None
        if self.training and not self.earlier_only:
            own_slots = self._remember(batch)
        if not known or on:
            compared, share = self._against_memory(anchors, batch, since, own_slots)
            term = self.loss.compare(*compared)
            term = term if share == 1 else share * term
            self._last |= {"memory_loss": term.detach(), **self._counts("memory")}
            batch_weight, memory_weight = self.batch_weight, self.memory_weight
            if not known:
                batch_weight, memory_weight = torch.where(on, batch_weight, 1), torch.where(on, memory_weight, 0)
            loss = batch_weight * loss + memory_weight * term
        if self.training and self.earlier_only:
            self._remember(batch)
        return loss

    def _against_memory(
        self, anchors: Tensor, batch: Gathered, since: Tensor, own_slots: Tensor | None
    ) -> tuple[tuple[Tensor, Tensor, Pairing], float]:
        """What the memory term compares, and its share: this process's anchors, or all where that is its share of work.

        So it is where the memory is sharded. A loss that is not of this package may be no mean over anchors: of all it
        is that of one process, whatever it is.
        """
        rows = self.memory.in_use(since)
        labels, ids, share = batch.labels, batch.ids, 1.0
        if self.memory.shard.parts > 1 or (not self.loss.mean_over_anchors and self.memory.processes.count > 1):
            anchors = batch.embeddings
        else:
            labels, ids, share = labels[batch.own], None if ids is None else ids[batch.own], batch.share
            own_slots = None if own_slots is None else own_slots[batch.own]
        across = self.memory.processes if self.memory.shard.parts > 1 else None
        pairing = Pairing(labels, rows.labels, ids, rows.ids, own_slots, rows.live, self.earlier_only, across)
        return (anchors, rows.embeddings, pairing), share

    def _remember(self, batch: Gathered) -> Tensor:
        slots = self.memory.enqueue(batch.embeddings, batch.labels, ids=batch.ids, step=self.step)
        self.step += 1
        return slots

    @property
    def stats(self) -> dict[str, Tensor]:
        """Of the last call: the value of each term, and means over the anchors of what counted in it."""
        return {name: each.detach().to(torch.float32).mean() for name, each in self._last.items()}

    def _counts(self, term: str) -> dict[str, Tensor]:
        counted = self.loss.per_anchor.items()
        return {f"{term}_{name}": each for name, each in counted if (term, name) != ("batch", "anchors")}
