"""The plain form of every loss: the whole similarity matrix and autograd. Slow, obvious, the judge."""

import torch

from crossbatch.losses.engine.whole import Whole
from crossbatch.losses.pair_loss import PairLoss, pair_up
from crossbatch.losses.pairing import Pairing
from crossbatch.precision import exactly
from crossbatch.shapes import Embeddings, Ids, Labels, References, RefIds, RefLabels, Scalar


def reference_loss(
    loss_fn: PairLoss,
    embeddings: Embeddings,
    labels: Labels,
    ref_emb: References | None = None,
    ref_labels: RefLabels | None = None,
    *,
    ids: Ids | None = None,
    ref_ids: RefIds | None = None,
) -> Scalar:
    """What `loss_fn(embeddings, labels, …)` must equal, in value and in every gradient.

    It holds the whole matrix of similarities [batch, refs], so it is slow and takes memory. Arguments are those of
    `PairLoss.forward`, after the loss itself.
    """
    anchors, refs, pairing = pair_up(embeddings, labels, ref_emb, ref_labels, ids, ref_ids)
    return reference_compare(loss_fn, anchors, refs, pairing)


@exactly
def reference_compare(loss_fn: PairLoss, anchors: Embeddings, refs: References, pairing: Pairing) -> Scalar:
    """What `loss_fn.compare` must equal."""
    sides = Whole(anchors, refs, *pairing.masks())
    per_anchor = loss_fn.over(sides)
    return (torch.where(sides.farthest < torch.inf, per_anchor, 0) if pairing.with_positive_only else per_anchor).mean()
