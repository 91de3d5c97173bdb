"""A loss and a memory together: the module that users call in their training step."""

import os
from typing import Any

import torch
from torch import Tensor, nn

from crossbatch.errors import SettingError
from crossbatch.losses import Pairing
from crossbatch.losses.any_loss import comparing
from crossbatch.losses.engine.products import is_known
from crossbatch.memory import CrossBatchMemory
from crossbatch.shapes import Embeddings, Ids, Labels, Scalar, require_one_each, unit
from crossbatch.uncompiled import eagerly

FOREVER = 2**62  # steps


class CrossBatchLoss(nn.Module):
    """`batch_weight` × the loss within the batch + `memory_weight` × the loss of the batch against the memory.

    `loss` is a pair loss of this package, a subclass of `PairLoss`, or any module that is called
    `(embeddings, labels, ref_emb=, ref_labels=)`. Each training call compares the batch with the rows of earlier
    batches and then enqueues it. Anchors of which the memory holds no positive are in the mean with 0: they would only
    be pushed away from where others were. With `earlier_only=False`, as in the authors' code, the batch is enqueued
    first, so that its rows are in the memory term too, all but the anchor's own, and every anchor counts. Rows of the
    same image are ignored where `ids` tell.

    The first `warmup_steps` calls fill the memory but return the batch term alone, at weight 1. In `eval()` nothing is
    enqueued and no step is counted. Both weights, the step from which the memory counts (`start`) and the age in steps
    up to which rows count (`max_age`) are buffers, to be set from outside. `stats` tells of the last call: the value of
    both terms, the positives and negatives per anchor of the batch that count in each, and the share of anchors that
    count against the memory. On a GPU, which is never asked whether the memory counts, both terms are computed during
    the warm-up too.

    Source: Wang et al., CVPR 2020; the weighted sum is that of the authors' code.

    Args:
        loss: A pair loss, or any module called `(embeddings, labels, ref_emb=, ref_labels=)`.
        memory: What the batch is compared with, and written to.
        memory_weight: Weight of the memory term, at least 0.
        batch_weight: Weight of the batch term once the memory counts, at least 0.
        warmup_steps: Training calls in which the memory fills and does not count.
        earlier_only: Compare with rows of earlier batches alone, and count only anchors with a positive there.

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
    ) -> None:
        super().__init__()
        if memory_weight < 0 or batch_weight < 0:
            raise SettingError(
                f"weights must not be negative, got memory_weight={memory_weight} and batch_weight={batch_weight}"
            )
        if warmup_steps < 0:
            raise SettingError(f"warmup_steps must not be negative, got {warmup_steps}")
        require_one_process()
        self.loss: Any = comparing(loss)
        self.memory = memory
        self.earlier_only = earlier_only
        self._told: dict[str, Tensor] = {}
        self.register_buffer("memory_weight", torch.tensor(float(memory_weight)))
        self.register_buffer("batch_weight", torch.tensor(float(batch_weight)))
        for name, value in {"step": 0, "start": warmup_steps, "max_age": FOREVER}.items():
            self.register_buffer(name, torch.tensor(value, dtype=torch.int64))

    @property
    def memory_is_on(self) -> bool:
        """Whether the next call compares with the memory."""
        return bool(self.step >= self.start)

    @eagerly
    def forward(self, embeddings: Embeddings, labels: Labels, *, ids: Ids | None = None) -> Scalar:
        """Loss of a batch of embeddings [batch, dim] with their labels and, if known, images.

        Args:
            embeddings: Float [batch, dim], of any length but 0; gradient flows to them.
            labels: Class of each, int64 [batch].
            ids: Image of each, int64 [batch]; −1 is unknown.

        Raises:
            ShapeError: Labels or ids are not one a row or not int64, or rows are not as long as those of the memory.
        """
        require_one_process()
        require_one_each(len(embeddings), "embeddings", labels=labels, ids=ids)
        anchors = unit(embeddings)
        loss: Tensor = self.loss.compare(anchors, anchors, Pairing.within(labels, ids))
        self._told = {"batch_loss": loss.detach(), **self._counts("batch")}
        on, known = self.step >= self.start, is_known(self.step)
        since = self.step - self.max_age - int(not self.training)
        own_slots = None
        if self.training and not self.earlier_only:
            own_slots = self._remember(anchors, labels, ids)
        if not known or on:
            rows = self.memory.in_use(since)
            pairing = Pairing(labels, rows.labels, ids, rows.ids, own_slots, rows.live, self.earlier_only)
            term = self.loss.compare(anchors, rows.embeddings, pairing)
            self._told |= {"memory_loss": term.detach(), **self._counts("memory")}
            batch_weight, memory_weight = self.batch_weight, self.memory_weight
            if not known:
                batch_weight, memory_weight = torch.where(on, batch_weight, 1), torch.where(on, memory_weight, 0)
            loss = batch_weight * loss + memory_weight * term
        if self.training and self.earlier_only:
            self._remember(anchors, labels, ids)
        return loss

    def _remember(self, anchors: Tensor, labels: Tensor, ids: Tensor | None) -> Tensor:
        slots = self.memory.enqueue(anchors, labels, ids=ids, step=self.step)
        self.step += 1
        return slots

    @property
    def stats(self) -> dict[str, Tensor]:
        """Of the last call: the value of each term, and means over the anchors of what counted in it."""
        return {name: each.detach().to(torch.float32).mean() for name, each in self._told.items()}

    def _counts(self, term: str) -> dict[str, Tensor]:
        told = self.loss.told if hasattr(self.loss, "told") else self.loss.stats
        return {f"{term}_{name}": each for name, each in told.items() if (term, name) != ("batch", "anchors")}


def require_one_process() -> None:
    """Refuse several processes: each would have a memory of its own."""
    distributed = torch.distributed.is_available() and torch.distributed.is_initialized()
    members = torch.distributed.get_world_size() if distributed else int(os.environ.get("WORLD_SIZE") or 1)
    if members > 1:
        raise SettingError(
            f"{members} processes are not supported yet: each would fill a memory of its own from its own batches, and "
            "DistributedDataParallel would overwrite them with that of rank 0 at every step; train in one process"
        )
