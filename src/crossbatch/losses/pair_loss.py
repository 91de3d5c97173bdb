"""What every pair loss is: a formula over the pairs of each anchor, computed a chunk of columns at a time."""

import inspect
from abc import ABC, abstractmethod
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from crossbatch.errors import SettingError, ShapeError, require_one_each
from crossbatch.losses.chunked import Chunks
from crossbatch.losses.eager import eagerly
from crossbatch.losses.pairing import Pairing
from crossbatch.shapes import (
    Embeddings,
    Ids,
    Labels,
    PairMask,
    PerAnchor,
    References,
    RefIds,
    RefLabels,
    Scalar,
    Similarities,
)


@runtime_checkable
class Compares(Protocol):
    """What `CrossBatchLoss` asks of a loss."""

    stats: dict[str, Tensor]

    def compare(self, anchors: Tensor, refs: Tensor, pairing: Pairing) -> Tensor:
        """The loss of unit-length anchors against unit-length references."""


class PairLoss(nn.Module, ABC):
    """Mean over the anchors of a loss over their pairs; a subclass is one short formula, written twice.

    `reference` is the plain form over the whole similarity matrix: it judges. `over` is the same formula as sums
    over chunks of pairs. `chunk` is the number of columns held at once, by default
    what fits the caches.
    """

    def __init__(self, *, chunk: int | None = None) -> None:
        super().__init__()
        if chunk is not None and (chunk < 1 or chunk != int(chunk)):
            raise SettingError(f"chunk must be a whole number of columns, at least 1, got {chunk}")
        self.chunk = None if chunk is None else int(chunk)
        self.stats: dict[str, Tensor] = {}

    @abstractmethod
    def reference(self, similarities: Similarities, positive: PairMask, negative: PairMask) -> PerAnchor:
        """Loss of each anchor from all its similarities, differentiable, plain and slow."""

    @abstractmethod
    def over(self, chunks: Chunks) -> PerAnchor:
        """Loss of each anchor, differentiable, from sums over its pairs."""

    def forward(
        self,
        embeddings: Embeddings,
        labels: Labels,
        *,
        ref_emb: References | None = None,
        ref_labels: RefLabels | None = None,
        ids: Ids | None = None,
        ref_ids: RefIds | None = None,
    ) -> Scalar:
        """Compare a batch with itself, or with `ref_emb` [refs, dim] and `ref_labels` [refs].

        Similarity is cosine. `ids` and `ref_ids` say which image a row is (−1: unknown); pairs of the same
        image are ignored. Gradient flows to `embeddings`, and to `ref_emb` where it requires it.
        """
        anchors, refs, pairing = pair_up(embeddings, labels, ref_emb, ref_labels, ids, ref_ids)
        return self.compare(anchors, refs, pairing)

    @eagerly
    def compare(self, anchors: Tensor, refs: Tensor, pairing: Pairing) -> Scalar:
        """The loss of unit-length anchors against unit-length references; `stats` then tells of this call.

        `stats` holds the mean number of positives and negatives per anchor that the loss acts on.
        """
        if len(anchors) == 0:
            self.stats = dict.fromkeys(("positives", "negatives"), anchors.new_zeros(()))
            return anchors.sum()
        chunks = Chunks(anchors, refs, pairing, self.chunk)
        with torch.autocast(anchors.device.type, enabled=False):
            loss = self.over(chunks).mean()
        self.stats = {side: pairs.float().mean() for side, pairs in chunks.acted_on.items()}
        return loss

    def extra_repr(self) -> str:
        """What `print(loss)` says: the parameters of the class, as they are now."""
        names = [name for name in inspect.signature(type(self)).parameters if name != "chunk"]
        values = {name: getattr(self, name) for name in names}
        shown = {
            name: f"{value.item():.4g}" if isinstance(value, Tensor) else repr(value) for name, value in values.items()
        }
        return ", ".join(f"{name}={value}" for name, value in shown.items())


def require_positive(**parameters: float) -> None:
    """Refuse parameters of a loss, given by name, that are not above 0."""
    for name, value in parameters.items():
        if value <= 0:
            raise SettingError(f"{name} must be above 0, got {value}")


def require_room(pos_margin: float) -> None:
    """Refuse a `pos_margin` that is no cosine, or that no positive is below."""
    if not -1 < pos_margin <= 1:
        raise SettingError(f"pos_margin is a cosine, above -1 and at most 1, got {pos_margin}")


def pair_up(
    embeddings: Tensor,
    labels: Tensor,
    ref_emb: Tensor | None = None,
    ref_labels: Tensor | None = None,
    ids: Tensor | None = None,
    ref_ids: Tensor | None = None,
) -> tuple[Tensor, Tensor, Pairing]:
    """Check what a loss was called with; return unit anchors, unit references and their pairing."""
    if (ref_emb is None) != (ref_labels is None):
        raise ShapeError("ref_emb and ref_labels go together: give both or neither")
    if ref_emb is not None and (ids is None) != (ref_ids is None):
        raise ShapeError("ids and ref_ids go together where there is ref_emb: give both or neither; −1 is unknown")
    require_one_each(len(embeddings), "embeddings", labels=labels, ids=ids)
    anchors = unit(embeddings)
    if ref_emb is None or ref_labels is None:
        return anchors, anchors, Pairing.within(labels, ids)
    if len(ref_labels) != len(ref_emb) or ref_emb.shape[1] != embeddings.shape[1]:
        raise ShapeError(
            f"ref_emb is {tuple(ref_emb.shape)} with {len(ref_labels)} ref_labels; "
            f"it needs one label a row and rows of length {embeddings.shape[1]}"
        )
    require_one_each(len(ref_emb), "references", ref_labels=ref_labels, ref_ids=ref_ids)
    return anchors, unit(ref_emb), Pairing(labels, ref_labels, ids, ref_ids)


def unit(embeddings: Tensor) -> Tensor:
    """Rows scaled to length 1, in float32 at least: half precision loses what a margin compares."""
    return normalize(embeddings.to(torch.promote_types(embeddings.dtype, torch.float32)))
