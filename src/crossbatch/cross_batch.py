"""The module that users call in their training step: a loss within the batch and against a memory."""

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

FOREVER = 2**62  # steps: as `max_age`, rows of any age count
VIEWS = (
    "no row of this batch has a positive: by ids, the rows of each class show one image, and pairs of one image are "
    "ignored; leave ids out where views of one image are its positives"
)
FORGOTTEN = (
    "CrossBatchLoss is in training mode under no_grad, so this batch enters the memory: call loss_fn.eval() to validate"
)


def _number(name: str, value: Any) -> Any:
    if hasattr(value, "item") and math.prod(value.shape) == 1:  # one number in a torch tensor or NumPy array
        value = value.item()
    if not isinstance(value, Real):
        raise SettingError(f"{name} is a number, got {value!r}")
    return value


def _is_like(value: Any, before: Tensor) -> bool:
    """Whether a value may be set unchecked: the buffer itself, as `+=` sets, or a like tensor on a GPU.

    Reading a tensor on a GPU to check it would wait for the device.
    """
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

    `loss` is a pair loss of this package, a subclass of `PairLoss`, or any module called
    `(embeddings, labels, ref_emb=, ref_labels=)`. Each training call compares the batch with the rows of earlier
    batches and then enqueues the batch. An anchor without a positive in the memory contributes 0 to the memory term,
    since the memory could only push it away from past negatives. With `earlier_only=False`, as in the authors' code,
    the batch is enqueued first. Its rows then take part in the memory term, except the anchor's own row, and every
    anchor counts. If `ids` are given, pairs of the same image are ignored.

    The first `warmup_steps` calls fill the memory and return the batch term alone, with weight 1. In `eval()` nothing
    is enqueued and no step is counted; the newest row is then one step old, as in the last training call. These buffers
    may be set, for example `loss_fn.memory_weight = 0.5`: both weights; `start`, the step from which the memory counts;
    and `max_age`, the age in steps up to which rows count. `stats` describes the last call: the value of both terms,
    the positives and negatives per anchor that count in each, and the share of anchors that count in the memory term.
    On a GPU both terms are computed during the warm-up too, so that no step waits for the device.

    Use one `CrossBatchLoss` per memory: a second one would compare a batch with its own rows, which the first enqueued.

    When several processes train (found at the first call, or given as `group`), all of them call the loss together,
    with batches of any sizes. The batch is then the batches of all processes in the order of ranks, and all of it is
    enqueued. DistributedDataParallel averages the gradients over the processes: the result is the gradient of one
    process on the whole batch. The average of the loss values is its loss. Parameters of the loss must be averaged like
    those of the network. Each process compares its own batch with the memory. With a sharded memory each process
    compares the whole batch with the rows that it keeps, and the sums are merged; this needs a loss of this package.

    Source: Wang et al., CVPR 2020; the weighted sum is that of the authors' code.

    Args:
        loss: A pair loss, or any module called `(embeddings, labels, ref_emb=, ref_labels=)`.
        memory: Memory that the batch is compared with and enqueued in.
        memory_weight: Weight of the memory term, at least 0.
        batch_weight: Weight of the batch term once the memory counts, at least 0.
        warmup_steps: Number of training calls in which the memory fills and does not count.
        earlier_only: Compare only with rows of earlier batches, and count only anchors with a positive among them.
        group: Process group that trains together; by default all processes.

    Raises:
        SettingError: A weight or `warmup_steps` is negative.

    Examples:
        >>> loss_fn = CrossBatchLoss(ContrastiveLoss(), CrossBatchMemory(size=60_000, dim=128))
        >>> loss = loss_fn(embeddings, labels, ids=ids)
    """

    memory_weight: Any  # a tensor; a plain number may be set
    batch_weight: Any
    step: Any
    start: Any
    max_age: Any

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
        """Accept plain numbers for the weights, `step`, `start` and `max_age`, and check them."""
        name = "start" if name == "warmup_steps" else name
        before = self._buffers.get(name) if name in CHECKED else None
        if before is not None and not _is_like(value, before):
            value = CHECKED[name](name, value)
            with torch.inference_mode(False):  # a Lightning callback may set it during validation
                value = torch.full_like(before, value)
        super().__setattr__(name, value)

    @property
    def warmup_steps(self) -> int:
        """Number of training calls before the memory counts; the same as `start`, and may be set like it."""
        return int(self.start)

    @property
    def memory_is_on(self) -> bool:
        """Whether the next call compares with the memory."""
        return bool(self.step >= self.start)

    @eagerly
    def forward(self, embeddings: Embeddings, labels: Labels, *, ids: Ids | None = None) -> Scalar:
        """Compute the loss of a batch; in training mode, enqueue the batch and count a step.

        Args:
            embeddings: Float [batch, dim]; gradient flows to them. Each process may pass a batch of another size.
            labels: Class of each row, int64 [batch].
            ids: Image of each row, int64 [batch]; −1 is unknown.

        Raises:
            ShapeError: Labels or ids are not int64 with one per row, or rows are not as long as those of the memory.
        """
        self.memory.check(embeddings, labels, ids)
        if self.training and not torch.is_grad_enabled():
            warnings.warn(FORGOTTEN, stacklevel=5)  # the warning names the line that calls the loss
        if self.memory.shard.parts > 1 and not self.loss.mean_over_anchors:
            raise SettingError(
                f"a sharded memory needs a loss of this package, whose sums over the shards can be merged, got "
                f"{type(getattr(self.loss, 'loss', self.loss)).__name__}: subclass PairLoss, or do not shard the memory"
            )
        anchors = unit(embeddings)
        alike = {"training mode": int(self.training), "the size of the memory": self.memory.size}
        batch = self.memory.processes.gather(anchors, labels, ids, alike)
        within = Pairing.within(batch.labels, batch.ids)
        loss = self.loss.compare(batch.embeddings, batch.embeddings, within)
        self._last = {"batch_loss": loss.detach(), **self._counts("batch")}
        self._warn_of_views(labels, ids)
        active, readable = self.step >= self.start, on_cpu(self.step)
        since = self.step - self.max_age
        since = since if self.training else since - 1
        own_slots = None
        if self.training and not self.earlier_only:
            own_slots = self._remember(batch)
        if not readable or active:
            arguments, share = self._against_memory(anchors, batch, since, own_slots)
            term = self.loss.compare(*arguments)
            term = term if share == 1 else share * term
            self._last |= {"memory_loss": term.detach(), **self._counts("memory")}
            batch_weight, memory_weight = self.batch_weight, self.memory_weight
            if not readable:
                batch_weight, memory_weight = (
                    torch.where(active, batch_weight, 1),
                    torch.where(active, memory_weight, 0),
                )
            loss = batch_weight * loss + memory_weight * term
        if self.training and self.earlier_only:
            self._remember(batch)
        return loss

    def _against_memory(
        self, anchors: Tensor, batch: Gathered, since: Tensor, own_slots: Tensor | None
    ) -> tuple[tuple[Tensor, Tensor, Pairing], float]:
        """Arguments of `compare` for the memory term, and the factor that weights the result of this process.

        By default these are this process's anchors and their share of the batch. If the memory is sharded, they are all
        anchors, compared with the rows kept here. A loss of another package may not be a mean over anchors, so each
        process computes it on all anchors, as one process would.
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
        """Statistics of the last call: the value of each term, and means over the anchors of the pairs that counted."""
        return {name: value.detach().to(torch.float32).mean() for name, value in self._last.items()}

    def _counts(self, term: str) -> dict[str, Tensor]:
        counts = self.loss.per_anchor.items()
        return {f"{term}_{name}": count for name, count in counts if (term, name) != ("batch", "anchors")}

    def _warn_of_views(self, labels: Tensor, ids: Tensor | None) -> None:
        """Warn of a batch of views, each image twice or more, without a positive; a GPU would wait for the answer."""
        if ids is None or not on_cpu(labels) or not self.training or not self.loss.mean_over_anchors:
            return
        if 2 * len(ids.unique()) <= len(ids) and not self.loss.per_anchor["anchors"].any():
            warnings.warn(VIEWS, stacklevel=6)
