"""Pair losses over a batch, or over a batch and references such as a memory. They see tensors only.

`LOSSES` has them by name. A class by itself computes what its paper says; `RECOMMENDED` has the values of its options
that measured best here. Positives that are pulled until they coincide leave no room for negatives: of 128 dimensions
embeddings of rendered characters then fill 7 to 11, with `room=0.7` 13 to 18. In a plain mean thousands of mild
negatives hide the few hard ones, so contrastive and triplet weigh by cost. Both were chosen on validation classes of
rendered characters (980 training classes, the `small` network from scratch, 1,000 to 2,000 steps);
docs/research/losses.md has the results on test.
"""

from typing import Any

from crossbatch.errors import SettingError
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
RECOMMENDED: dict[str, dict[str, Any]] = {
    "contrastive": {"room": 0.7, "weigh": "cost"},
    "triplet": {"room": 0.7, "weigh": "cost"},
    "lifted-structure": {"room": 0.7},
    "n-pair": {"room": 0.7},
    "nt-xent": {"room": 0.7},
    "sup-con": {"room": 0.7},
    "nca": {"room": 0.7},
}


def recommended(name: str, **options: Any) -> PairLoss:
    """A loss with the recommended values, but for the options that are given.

    Args:
        name: contrastive, triplet, multi-similarity, binomial-deviance, lifted-structure, n-pair, nt-xent, sup-con,
            nca, circle or margin.
        options: Parameters of its class, which take the place of the recommended ones.

    Examples:
        >>> loss = recommended("contrastive", neg_margin=0.4)
    """
    if name not in LOSSES:
        raise SettingError(f"there is no loss {name!r}: choose one of {', '.join(LOSSES)}")
    return LOSSES[name](**recommended_options(name, options))


def recommended_options(name: str, options: dict[str, Any]) -> dict[str, Any]:
    """The recommended options of a loss under those that are given; weights go with a mean, not with a sum."""
    found = dict(RECOMMENDED.get(name, {}))
    if options.get("reduction") == "sum":
        found.pop("weigh", None)
    return found | options


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
