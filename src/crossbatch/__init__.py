"""Deep metric learning with a cross-batch memory."""

from crossbatch.cross_batch import CrossBatchLoss
from crossbatch.errors import CrossBatchError
from crossbatch.losses import (
    BinomialDevianceLoss,
    CircleLoss,
    ContrastiveLoss,
    LiftedStructureLoss,
    MarginLoss,
    MultiSimilarityLoss,
    NCALoss,
    NPairLoss,
    NTXentLoss,
    PairLoss,
    SupConLoss,
    TripletLoss,
    recommended,
    reference_loss,
)
from crossbatch.memory import CrossBatchMemory

__version__ = "0.1.0"

__all__ = [
    "BinomialDevianceLoss",
    "CircleLoss",
    "ContrastiveLoss",
    "CrossBatchError",
    "CrossBatchLoss",
    "CrossBatchMemory",
    "LiftedStructureLoss",
    "MarginLoss",
    "MultiSimilarityLoss",
    "NCALoss",
    "NPairLoss",
    "NTXentLoss",
    "PairLoss",
    "SupConLoss",
    "TripletLoss",
    "recommended",
    "reference_loss",
]
