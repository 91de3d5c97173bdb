"""Over how many dimensions embeddings spread."""

import torch

from crossbatch.shapes import Embeddings


def effective_dimensions(embeddings: Embeddings) -> float:
    """`(Σλ)² / Σλ²` of the eigenvalues λ of the covariance: dim where all directions vary alike, 1 for a line.

    0 where nothing varies. Known as the participation ratio.
    """
    rows = embeddings.double()
    covariance = torch.cov(rows.T, correction=0).view(rows.shape[1], -1)
    total = covariance.trace()
    # Below this the rows are one point but for rounding.
    return float(total.square() / covariance.square().sum()) if total > 1e-9 else 0.0
