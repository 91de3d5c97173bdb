"""A loss and a memory together: the module that users call in their training step."""

import torch
from torch import Tensor, nn

from crossbatch.errors import SettingError, require_one_each
from crossbatch.losses import Compares, Pairing
from crossbatch.losses.eager import eagerly
from crossbatch.losses.pair_loss import unit
from crossbatch.memory import CrossBatchMemory
from crossbatch.shapes import Embeddings, Ids, Labels, Scalar

FOREVER = 2**62  # steps


class CrossBatchLoss(nn.Module):
    """`batch_weight` × the loss within the batch + `memory_weight` × the loss of the batch against the memory.

    Each training call enqueues the batch. The memory term compares it with the rows of earlier batches, and counts
    those anchors of which these hold a positive; the others are in its mean with 0. Held by nothing old, an anchor
    would only be pushed away from where others were, and a common motion of all does that as well as a better
    embedding. With `earlier_only=False`, as in the authors' code, every anchor counts, and the batch's rows are in the
    memory term too, all but the anchor's own. Rows of the same image are ignored where `ids` tell.

    The first `warmup_steps` calls fill the memory but return the batch term alone, at weight 1; over the next
    `ramp_steps` the memory's weight rises to its own. With `one_per_image`, and where `ids` tell, an image that
    returns takes the place of its older row. In `eval()` nothing is enqueued and no step is counted. Both weights, the
    step from which the memory counts (`start`), the steps of the rise (`ramp`) and the age in steps up to which rows
    count (`max_age`) are buffers, to be set from outside. `stats` tells of the last call: the value of both terms, the
    positives and negatives per anchor of the batch that each acts on, and the share of anchors that count against the
    memory.

    Source: Wang et al., CVPR 2020; the weighted sum is that of the authors' code.

    Example:
        >>> loss_fn = CrossBatchLoss(ContrastiveLoss(), CrossBatchMemory(size=60_000, dim=128))
        >>> loss = loss_fn(embeddings, labels, ids=ids)
    """

    memory_weight: Tensor
    batch_weight: Tensor
    step: Tensor
    start: Tensor
    ramp: Tensor
    max_age: Tensor

    def __init__(
        self,
        loss: Compares,
        memory: CrossBatchMemory,
        *,
        memory_weight: float = 1.0,
        batch_weight: float = 1.0,
        warmup_steps: int = 0,
        ramp_steps: int = 0,
        one_per_image: bool = False,
        earlier_only: bool = True,
    ) -> None:
        super().__init__()
        if not hasattr(loss, "compare"):
            raise SettingError(
                f"{type(loss).__name__} is no loss of this package: take one of crossbatch.losses, or wrap it in "
                "crossbatch.interop.pytorch_metric_learning.TheirLoss if it is one of pytorch-metric-learning"
            )
        if memory_weight < 0 or batch_weight < 0:
            raise SettingError(
                f"weights must not be negative, got memory_weight={memory_weight} and batch_weight={batch_weight}"
            )
        if warmup_steps < 0 or ramp_steps < 0:
            raise SettingError(
                f"steps must not be negative, got warmup_steps={warmup_steps} and ramp_steps={ramp_steps}"
            )
        self.loss, self.memory = loss, memory
        self.one_per_image, self.earlier_only = one_per_image, earlier_only
        self.stats: dict[str, Tensor] = {}
        self.register_buffer("memory_weight", torch.tensor(float(memory_weight)))
        self.register_buffer("batch_weight", torch.tensor(float(batch_weight)))
        for name, value in {"step": 0, "start": warmup_steps, "ramp": ramp_steps, "max_age": FOREVER}.items():
            self.register_buffer(name, torch.tensor(value, dtype=torch.int64))

    @property
    def memory_is_on(self) -> bool:
        """Whether the next call compares with the memory."""
        return bool(self.step >= self.start)

    @eagerly
    def forward(self, embeddings: Embeddings, labels: Labels, *, ids: Ids | None = None) -> Scalar:
        """Loss of a batch of embeddings [batch, dim] with their labels and, if known, images."""
        require_one_each(len(embeddings), "embeddings", labels=labels, ids=ids)
        anchors, on, risen = unit(embeddings), self.memory_is_on, (self.step - self.start + 1) / (self.ramp + 1)
        max_age = int(self.max_age)
        since = None if max_age == FOREVER else int(self.step) - max_age - (0 if self.training else 1)
        own_slots, superseded = self._remember(anchors, labels, ids)
        batch_term = self.loss.compare(anchors, anchors, Pairing.within(labels, ids))
        self.stats = {"batch_loss": batch_term.detach(), **self._counts("batch")}
        if on:
            refs = self.memory.columns(since)
            pairing = Pairing(labels, refs.labels, ids, refs.ids, own_slots, refs.live)
            memory_term = self._compare(anchors, refs.embeddings, pairing)
            batch_term = self.batch_weight * batch_term + self.memory_weight * risen.clamp(max=1) * memory_term
        if len(superseded):
            self.memory.drop(superseded)
        return batch_term

    def _compare(self, anchors: Tensor, rows: Tensor, pairing: Pairing) -> Tensor:
        """The memory term, a mean over all anchors."""
        held = torch.ones_like(pairing.labels, dtype=torch.bool)
        if self.earlier_only:
            pairing = pairing.without_own().prepared()
            held = pairing.have_positives()
        counted = anchors[held]
        if len(counted) == 0:
            told = ("memory_loss", "memory_anchors", "memory_positives", "memory_negatives")
            self.stats |= dict.fromkeys(told, anchors.new_zeros(()))
            return 0 * anchors.sum()
        share = held.float().mean()
        memory_term = share * self.loss.compare(counted, rows, pairing.of(held))
        self.stats |= {"memory_loss": memory_term.detach(), "memory_anchors": share}
        self.stats |= {name: share * value for name, value in self._counts("memory").items()}
        return memory_term

    def _remember(self, anchors: Tensor, labels: Tensor, ids: Tensor | None) -> tuple[Tensor | None, Tensor]:
        """Enqueue the batch; the slots of its rows, and of those that are to go once they have been compared with."""
        none = labels.new_empty(0)
        if not self.training:
            return None, none
        older = self.memory.lookup(ids).slots if self.one_per_image and ids is not None else none
        slots = self.memory.enqueue(anchors, labels, ids=ids, step=self.step)
        self.step += 1
        superseded = older[~torch.isin(older, slots)]  # others are overwritten
        if self.one_per_image and ids is not None:  # a batch may have an image twice
            twice = (slots != self.memory.lookup(ids).slots) & (ids >= 0)
            superseded = torch.cat([superseded, slots[twice]])
        return slots, superseded

    def _counts(self, term: str) -> dict[str, Tensor]:
        return {f"{term}_{side}": count for side, count in self.loss.stats.items()}
