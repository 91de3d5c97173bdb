"""Pair losses within a batch, or of a batch against references such as the rows of a memory.

`LOSSES` has the classes by name. The defaults of a class compute its published formula. `recommended` builds a loss
with the option values that measured best here (see `loss_names`).
"""

import difflib
from typing import Any

from crossbatch.errors import SettingError
from crossbatch.loss_names import CLASSES, RECOMMENDED, recommended_options
from crossbatch.losses.binomial_deviance import BinomialDevianceLoss
from crossbatch.losses.check import check_loss
from crossbatch.losses.circle import CircleLoss
from crossbatch.losses.contrastive import ContrastiveLoss
from crossbatch.losses.engine.costs import Above, Exponent
from crossbatch.losses.engine.sums import Sums
from crossbatch.losses.lifted_structure import LiftedStructureLoss
from crossbatch.losses.margin import MarginLoss
from crossbatch.losses.matryoshka import MatryoshkaLoss
from crossbatch.losses.multi_similarity import MultiSimilarityLoss
from crossbatch.losses.n_pair import NPairLoss
from crossbatch.losses.nca import NCALoss
from crossbatch.losses.nt_xent import NTXentLoss
from crossbatch.losses.pair_loss import PairLoss
from crossbatch.losses.pairing import Pairing
from crossbatch.losses.reference import reference_loss
from crossbatch.losses.sup_con import SupConLoss
from crossbatch.losses.triplet import TripletLoss

LOSSES: dict[str, type[PairLoss]] = {name: globals()[kind] for name, kind in CLASSES.items()}


def recommended(name: str, **options: Any) -> PairLoss:
    """Build a loss by name with its recommended options.

    Args:
        name: contrastive, triplet, multi-similarity, binomial-deviance, lifted-structure, n-pair, nt-xent, sup-con,
            nca, circle or margin.
        options: Parameters of its class; they override the recommended values.

    Examples:
        >>> loss = recommended("contrastive", neg_margin=0.4)
    """
    if name not in LOSSES:
        close = difflib.get_close_matches(str(name), LOSSES, n=1)
        hint = f"did you mean {close[0]}? There are" if close else "choose one of"
        raise SettingError(f"there is no loss {name!r}: {hint} {', '.join(LOSSES)}")
    return LOSSES[name](**recommended_options(name, options))


__all__ = [
    "LOSSES",
    "RECOMMENDED",
    "Above",
    "BinomialDevianceLoss",
    "CircleLoss",
    "ContrastiveLoss",
    "Exponent",
    "LiftedStructureLoss",
    "MarginLoss",
    "MatryoshkaLoss",
    "MultiSimilarityLoss",
    "NCALoss",
    "NPairLoss",
    "NTXentLoss",
    "PairLoss",
    "Pairing",
    "Sums",
    "SupConLoss",
    "TripletLoss",
    "check_loss",
    "recommended",
    "recommended_options",
    "reference_loss",
]
