"""Train networks that find similar images, with a memory of past batches, and search with them."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from crossbatch.commands.from_python import compare, train
    from crossbatch.cross_batch import CrossBatchLoss
    from crossbatch.data.pk_batches import PKBatches
    from crossbatch.encoder import Encoder, load
    from crossbatch.errors import CrossBatchError
    from crossbatch.following import Following
    from crossbatch.losses import (
        BinomialDevianceLoss,
        CircleLoss,
        ContrastiveLoss,
        LiftedStructureLoss,
        MarginLoss,
        MatryoshkaLoss,
        MultiSimilarityLoss,
        NCALoss,
        NPairLoss,
        NTXentLoss,
        PairLoss,
        SupConLoss,
        TripletLoss,
        check_loss,
        recommended,
        reference_loss,
    )
    from crossbatch.memory import CrossBatchMemory
    from crossbatch.pieces import embed_in_pieces

__version__ = "0.1.0"

__all__ = [
    "BinomialDevianceLoss",
    "CircleLoss",
    "ContrastiveLoss",
    "CrossBatchError",
    "CrossBatchLoss",
    "CrossBatchMemory",
    "Encoder",
    "Following",
    "LiftedStructureLoss",
    "MarginLoss",
    "MatryoshkaLoss",
    "MultiSimilarityLoss",
    "NCALoss",
    "NPairLoss",
    "NTXentLoss",
    "PKBatches",
    "PairLoss",
    "SupConLoss",
    "TripletLoss",
    "check_loss",
    "compare",
    "embed_in_pieces",
    "load",
    "recommended",
    "reference_loss",
    "train",
]
ELSEWHERE = {
    "CrossBatchError": "errors",
    "CrossBatchLoss": "cross_batch",
    "CrossBatchMemory": "memory",
    "Encoder": "encoder",
    "Following": "following",
    "PKBatches": "data.pk_batches",
    "compare": "commands.from_python",
    "embed_in_pieces": "pieces",
    "load": "encoder",
    "train": "commands.from_python",
}


def __getattr__(name: str) -> Any:
    """Import a public name at its first use, so that `crossbatch --help` need not wait for torch."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{ELSEWHERE.get(name, 'losses')}"), name)


def __dir__() -> list[str]:
    """List the public names for completion, without importing them."""
    return [*__all__, "__version__"]
