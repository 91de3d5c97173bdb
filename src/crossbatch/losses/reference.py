"""The plain form of every loss, by the whole similarity matrix and autograd: slow and simple, to test the fast form."""

import torch

from crossbatch.losses.comparing import pair_up
from crossbatch.losses.engine.whole import Whole
from crossbatch.losses.pair_loss import PairLoss
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
    """Compute a loss in its plain form. `loss_fn(embeddings, labels, …)` must equal it in value and every gradient.

    It holds the whole matrix of similarities [batch, refs], so it is slow and takes memory. After `loss_fn`, the
    arguments are those of `PairLoss.forward`.
    """
    anchors, refs, pairing = pair_up(embeddings, labels, ref_emb, ref_labels, ids, ref_ids)
    return reference_compare(loss_fn, anchors, refs, pairing)


@exactly
def reference_compare(loss_fn: PairLoss, anchors: Embeddings, refs: References, pairing: Pairing) -> Scalar:
    """Compute in the plain form the value that `loss_fn.compare` must equal."""
    sides = Whole(anchors, refs, *pairing.masks())
    per_anchor = loss_fn.over(sides)
    return (torch.where(sides.has_positive, per_anchor, 0) if pairing.with_positive_only else per_anchor).mean()
