"""pytorch-metric-learning in both directions: their losses and miners with our memory, our losses with their call."""

from typing import Any

import torch
from torch import Tensor, nn

from crossbatch.errors import MissingExtraError, SettingError, ShapeError
from crossbatch.losses import Pairing, PairLoss
from crossbatch.losses.comparing import Comparing, pair_up
from crossbatch.losses.engine.whole import Whole
from crossbatch.precision import without_autocast

try:
    from pytorch_metric_learning import losses as theirs
    from pytorch_metric_learning.miners import BaseMiner
    from pytorch_metric_learning.utils import loss_and_miner_utils
except ModuleNotFoundError:
    raise MissingExtraError("working with its losses", "pytorch-metric-learning", "pml") from None

Indices = tuple[Tensor, ...]  # (anchors, positives, anchors, negatives), or triplets (anchors, positives, negatives)
# Their own memory supports these with references. NCALoss is left out, since it ignores which pairs it is given.
WITH_REFERENCES = sorted(set(theirs.CrossBatchMemory.supported_losses()) - {"NCALoss"})


class PMLLoss(Comparing):
    """A loss of pytorch-metric-learning, with or without one of its miners, to use in `CrossBatchLoss` like our losses.

    Without a miner, all pairs count. Pairs of a row with itself or with a copy of its image never count, and neither do
    rows dropped from the memory. A miner does not see memory rows of earlier batches that show images of the batch.
    Rows have unit length. Value and reduction are theirs: a mean over pairs, not over anchors. If only some anchors
    count against a memory, the loss is multiplied by their share of the batch, as for every loss. Every pair is listed,
    at 32 bytes each.

    Examples:
        >>> loss = PMLLoss(TripletMarginLoss(), MultiSimilarityMiner())
        >>> loss_fn = CrossBatchLoss(loss, CrossBatchMemory(size=60_000, dim=128))
    """

    def __init__(self, loss: nn.Module, miner: BaseMiner | None = None) -> None:
        super().__init__()
        name = type(loss).__name__
        if not isinstance(loss, nn.Module) or isinstance(loss, PairLoss):
            raise SettingError(f"PMLLoss takes a loss of pytorch-metric-learning, as TripletMarginLoss(), got {loss!r}")
        if not isinstance(miner, BaseMiner | None):
            raise SettingError(f"PMLLoss takes a miner of theirs, as MultiSimilarityMiner(), or None, got {miner!r}")
        if hasattr(theirs, name) and name not in WITH_REFERENCES:
            raise SettingError(
                f"{name} cannot compare chosen pairs with a memory: "
                f"take {', '.join(WITH_REFERENCES)}, or a loss of ours"
            )
        self.loss, self.miner = loss, miner

    def compare(self, anchors: Tensor, refs: Tensor, pairing: Pairing) -> Tensor:
        """Their loss of anchors against references; sets `per_anchor`, as every loss does."""
        kept = slice(None) if pairing.live is None else pairing.live.nonzero()[:, 0]
        positive, negative = pairing.masks(torch.arange(len(refs), device=refs.device)[kept])
        if self.miner is not None and refs is not anchors:  # older rows of an image are not mined for it
            visible, columns = (positive | negative).all(0), torch.arange(len(refs), device=refs.device)[kept]
            if pairing.own_slots is not None:  # the batch's rows are; pairs of a row with itself are dropped afterwards
                visible |= torch.isin(columns, pairing.own_slots)
            kept = columns[visible]
            positive, negative = positive[:, visible], negative[:, visible]
        counted = positive.any(1) if pairing.with_positive_only else torch.ones_like(pairing.labels, dtype=torch.bool)
        share = counted.to(anchors).mean()
        if not counted.any() or not positive.shape[1]:
            self.per_anchor = dict.fromkeys(("positives", "negatives", "anchors"), torch.zeros_like(share))
            return 0 * anchors.sum()
        # Rows of a memory are copied: some losses read them in the backward pass, and the memory is written before it.
        rows = refs[kept].to(anchors, copy=refs is not anchors)
        labels, of_anchors = pairing.ref_labels[kept], pairing.labels[counted]
        positive, negative = positive[counted], negative[counted]
        if self.miner is None:
            indices: Indices = (*positive.nonzero().unbind(1), *negative.nonzero().unbind(1))
        else:
            references = () if refs is anchors else (rows, labels)
            indices = _without(~(positive | negative), self.miner(anchors[counted], of_anchors, *references))
        pairs = loss_and_miner_utils.convert_to_pairs(indices, of_anchors, labels)
        self.per_anchor = {
            side: torch.tensor(len(pairs[place]) / max(len(anchors), 1))
            for side, place in (("positives", 0), ("negatives", 2))
        }
        self.per_anchor["anchors"] = share
        with without_autocast(anchors.device):
            loss: Tensor = self.loss(anchors[counted], of_anchors, indices, rows, labels)
        return share * loss


class CalledLikePML(nn.Module):
    """A loss of ours with the call of theirs: `loss(embeddings, labels, indices_tuple, ref_emb, ref_labels)`.

    Without `indices_tuple` this is our loss unchanged. With it, only these pairs count: a triplet is two pairs, and a
    pair counts once. The loss is then computed in its plain form, on a matrix of batch × references, as theirs are.
    """

    def __init__(self, loss: PairLoss) -> None:
        super().__init__()
        if not isinstance(loss, PairLoss):
            raise SettingError(f"CalledLikePML takes a PairLoss, as ContrastiveLoss(), got {loss!r}")
        self.loss = loss

    def forward(
        self,
        embeddings: Tensor,
        labels: Tensor,
        indices_tuple: Indices | None = None,
        ref_emb: Tensor | None = None,
        ref_labels: Tensor | None = None,
    ) -> Tensor:
        """Mean over the anchors."""
        if indices_tuple is None:
            whole: Tensor = self.loss(embeddings, labels, ref_emb=ref_emb, ref_labels=ref_labels)
            return whole
        anchors, refs, _ = pair_up(embeddings, labels, ref_emb, ref_labels)
        positive, negative = torch.zeros(2, len(anchors), len(refs), dtype=torch.bool, device=anchors.device)
        of_pos, pos, of_neg, neg = loss_and_miner_utils.convert_to_pairs(indices_tuple, labels, ref_labels)
        for mask, rows, columns in ((positive, of_pos, pos), (negative, of_neg, neg)):
            beyond = (rows < 0) | (rows >= len(anchors)) | (columns < 0) | (columns >= len(refs))
            if beyond.any():
                raise ShapeError(
                    f"indices_tuple points beyond {len(anchors)} anchors and {len(refs)} references: "
                    "mine with the same ref_emb as the loss gets"
                )
            mask[rows, columns] = True
        with without_autocast(anchors.device):
            return self.loss.over(Whole(anchors, refs, positive, negative)).mean()


def _without(ignored: Tensor, indices: Any) -> Indices:
    """Leave out ignored pairs, and triplets that contain one."""
    if len(indices) == 3:
        anchors, positives, negatives = indices
        kept = ~ignored[anchors, positives] & ~ignored[anchors, negatives]
        return anchors[kept], positives[kept], negatives[kept]
    of_pos, pos, of_neg, neg = indices
    kept_pos, kept_neg = ~ignored[of_pos, pos], ~ignored[of_neg, neg]
    return of_pos[kept_pos], pos[kept_pos], of_neg[kept_neg], neg[kept_neg]
