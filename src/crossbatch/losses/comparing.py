"""The interface of a loss that `CrossBatchLoss` uses."""

from abc import ABC, abstractmethod

from torch import Tensor, nn

from crossbatch.errors import ShapeError
from crossbatch.losses.pairing import Pairing
from crossbatch.shapes import (
    Embeddings,
    Ids,
    Labels,
    References,
    RefIds,
    RefLabels,
    Scalar,
    require_one_each,
    require_rows,
    unit,
)
from crossbatch.uncompiled import eagerly


class Comparing(nn.Module, ABC):
    """A loss that compares anchors with references, and leaves out the pairs that a `Pairing` excludes.

    Attributes:
        per_anchor: Statistics of the last call, each [anchors] or a mean over the anchors: `positives` and `negatives`,
            the numbers of pairs that counted, and `anchors`, whether an anchor has a positive.
        mean_over_anchors: Whether the loss is a mean over the anchors, so that the losses of parts of a batch average,
            weighted by size, to the loss of the whole batch.
    """

    mean_over_anchors = False

    def __init__(self) -> None:
        super().__init__()
        self.per_anchor: dict[str, Tensor] = {}

    @eagerly
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
        """Compare a batch with itself or with references, by cosine; rows may have any length but 0.

        Args:
            embeddings: The anchors, float [batch, dim]; gradient flows to them.
            labels: Class of each, int64 [batch].
            ref_emb: The references, float [refs, dim]; gradient flows to them if they require it.
            ref_labels: Class of each reference, int64 [refs].
            ids: Image of each anchor, int64 [batch]; −1 is unknown. Pairs of one image are ignored.
            ref_ids: Image of each reference, int64 [refs].

        Returns:
            A scalar; for a pair loss of this package the mean over the anchors.

        Raises:
            ShapeError: The shapes or types of the arguments do not fit together.
        """
        return self.compare(*pair_up(embeddings, labels, ref_emb, ref_labels, ids, ref_ids))

    @abstractmethod
    def compare(self, anchors: Tensor, refs: Tensor, pairing: Pairing) -> Scalar:
        """Compute the loss of unit-length anchors against unit-length references; `refs is anchors` within a batch."""

    @property
    def stats(self) -> dict[str, Scalar]:
        """Statistics of the last call: positives and negatives per anchor that count, and the share with a positive."""
        return {name: values.detach().float().mean() for name, values in self.per_anchor.items()}


def pair_up(
    embeddings: Tensor,
    labels: Tensor,
    ref_emb: Tensor | None = None,
    ref_labels: Tensor | None = None,
    ids: Tensor | None = None,
    ref_ids: Tensor | None = None,
) -> tuple[Tensor, Tensor, Pairing]:
    """Check the arguments of a loss; return unit anchors, unit references and their pairing."""
    if (ref_emb is None) != (ref_labels is None):
        raise ShapeError("ref_emb and ref_labels go together: give both or neither")
    if ref_emb is not None and (ids is None) != (ref_ids is None):
        raise ShapeError("ids and ref_ids go together where there is ref_emb: give both or neither; −1 is unknown")
    require_rows("embeddings", embeddings)
    require_one_each(len(embeddings), "embeddings", labels=labels, ids=ids)
    anchors = unit(embeddings)
    if ref_emb is None or ref_labels is None:
        return anchors, anchors, Pairing.within(labels, ids)
    require_rows("ref_emb", ref_emb)
    require_one_each(len(ref_emb), "references", ref_labels=ref_labels, ref_ids=ref_ids)
    if ref_emb.shape[1] != embeddings.shape[1]:
        raise ShapeError(f"rows of ref_emb are {ref_emb.shape[1]} long, those of embeddings {embeddings.shape[1]}")
    return anchors, unit(ref_emb), Pairing(labels, ref_labels, ids, ref_ids)
