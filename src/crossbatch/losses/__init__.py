"""Pair losses over a batch, or over a batch and references such as a memory. They see tensors only."""

from crossbatch.losses.contrastive import ContrastiveLoss
from crossbatch.losses.multi_similarity import MultiSimilarityLoss
from crossbatch.losses.pair_loss import PairLoss
from crossbatch.losses.pairing import Pairing
from crossbatch.losses.reference import reference_loss

LOSSES: dict[str, type[PairLoss]] = {
    "contrastive": ContrastiveLoss,
    "multi-similarity": MultiSimilarityLoss,
}

__all__ = ["LOSSES", "ContrastiveLoss", "MultiSimilarityLoss", "PairLoss", "Pairing", "reference_loss"]
