"""Deep metric learning with a cross-batch memory."""

from crossbatch.cross_batch import CrossBatchLoss
from crossbatch.errors import CrossBatchError
from crossbatch.losses import ContrastiveLoss, MultiSimilarityLoss, PairLoss, reference_loss
from crossbatch.memory import CrossBatchMemory

__version__ = "0.1.0"

__all__ = [
    "ContrastiveLoss",
    "CrossBatchError",
    "CrossBatchLoss",
    "CrossBatchMemory",
    "MultiSimilarityLoss",
    "PairLoss",
    "reference_loss",
]
