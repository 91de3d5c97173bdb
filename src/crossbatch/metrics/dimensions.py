"""Over how many dimensions embeddings spread."""

import torch

from crossbatch.errors import DivergedError
from crossbatch.shapes import Array, Embeddings, tensor_of

POINT = 1e-9  # of the mean square of a row; rows that vary less are one point but for rounding


def effective_dimensions(embeddings: Embeddings | Array) -> float:
    """`(Σλ)² / Σλ²` of the eigenvalues λ of the covariance: dim where all directions vary alike, 1 for a line.

    0 where nothing varies. Known as the participation ratio. Raises `DivergedError` where a row is not finite.
    A NumPy array does as well as a tensor.
    """
    rows = tensor_of(embeddings).double()
    if not rows.isfinite().all():
        raise DivergedError("some embeddings are not finite: lower the learning rate if training diverged")
    covariance = torch.cov(rows.T, correction=0).view(rows.shape[1], -1)
    total = covariance.trace()
    varies = total > POINT * rows.square().sum(1).mean()
    return float(total.square() / covariance.square().sum()) if varies else 0.0
