"""Names of the losses, and the option values that measured best here.

This module does not import torch, so that the command line starts fast. The reasons for the recommended values:

* `room`: if positives are pulled until they coincide, embeddings collapse. Embeddings of rendered characters then use
  7 to 11 of 128 dimensions; with `room=0.7` 13 to 18.
* `weigh`: in a plain mean thousands of mild negatives hide the few hard ones, so contrastive and triplet weight by
  cost.

Both were chosen on validation classes of rendered characters (980 training classes, the `small` network from scratch,
1,000 to 2,000 steps). docs/research/losses.md has the results on the test part. `room` suits most images and not all:
`training.race` tries 1 too.
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
    """Merge the recommended options of a loss with given ones, which win; `weigh` is dropped for a sum."""
    recommended = dict(RECOMMENDED.get(name, {}))
    if options.get("reduction") == "sum":
        recommended.pop("weigh", None)
    return recommended | options
