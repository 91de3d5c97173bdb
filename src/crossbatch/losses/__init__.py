"""Pair losses over a batch, or over a batch and references such as a memory. They see tensors only."""

from crossbatch.losses.binomial_deviance import BinomialDevianceLoss
from crossbatch.losses.circle import CircleLoss
from crossbatch.losses.contrastive import ContrastiveLoss
from crossbatch.losses.lifted_structure import LiftedStructureLoss
from crossbatch.losses.margin import MarginLoss
from crossbatch.losses.multi_similarity import MultiSimilarityLoss
from crossbatch.losses.nca import NCALoss
from crossbatch.losses.pair_loss import Compares, PairLoss
from crossbatch.losses.pairing import Pairing
from crossbatch.losses.reference import reference_loss
from crossbatch.losses.sup_con import SupConLoss
from crossbatch.losses.triplet import TripletLoss
from crossbatch.losses.tuplet import NPairLoss, NTXentLoss

LOSSES: dict[str, type[PairLoss]] = {
    "contrastive": ContrastiveLoss,
    "triplet": TripletLoss,
    "multi-similarity": MultiSimilarityLoss,
    "binomial-deviance": BinomialDevianceLoss,
    "lifted-structure": LiftedStructureLoss,
    "n-pair": NPairLoss,
    "nt-xent": NTXentLoss,
    "sup-con": SupConLoss,
    "nca": NCALoss,
    "circle": CircleLoss,
    "margin": MarginLoss,
}

__all__ = [
    "LOSSES",
    "BinomialDevianceLoss",
    "CircleLoss",
    "Compares",
    "ContrastiveLoss",
    "LiftedStructureLoss",
    "MarginLoss",
    "MultiSimilarityLoss",
    "NCALoss",
    "NPairLoss",
    "NTXentLoss",
    "PairLoss",
    "Pairing",
    "SupConLoss",
    "TripletLoss",
    "reference_loss",
]
