"""The losses by name, and the values of their options that measured best here.

Nothing is imported, so that a command line need not wait for torch. Positives that are pulled until they coincide leave
no room for negatives: of 128 dimensions embeddings of rendered characters then fill 7 to 11, with `room=0.7` 13 to 18.
In a plain mean thousands of mild negatives hide the few hard ones, so contrastive and triplet weigh by cost. Both were
chosen on validation classes of rendered characters (980 training classes, the `small` network from scratch, 1,000 to
2,000 steps); docs/research/losses.md has the results on test.
"""

from typing import Any

CLASSES = {
    "contrastive": "ContrastiveLoss",
    "triplet": "TripletLoss",
    "multi-similarity": "MultiSimilarityLoss",
    "binomial-deviance": "BinomialDevianceLoss",
    "lifted-structure": "LiftedStructureLoss",
    "n-pair": "NPairLoss",
    "nt-xent": "NTXentLoss",
    "sup-con": "SupConLoss",
    "nca": "NCALoss",
    "circle": "CircleLoss",
    "margin": "MarginLoss",
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


def recommended_options(name: str, options: dict[str, Any]) -> dict[str, Any]:
    """The recommended options of a loss under those that are given; weights go with a mean, not with a sum."""
    found = dict(RECOMMENDED.get(name, {}))
    if options.get("reduction") == "sum":
        found.pop("weigh", None)
    return found | options
