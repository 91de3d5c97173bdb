"""The effective number of dimensions over which embeddings spread."""

import torch

from crossbatch.errors import DivergedError
from crossbatch.shapes import Array, Embeddings, tensor_of

POINT = 1e-9  # rows whose variance is below this share of their mean square differ by rounding only


def effective_dimensions(embeddings: Embeddings | Array) -> float:
    """Participation ratio `(Σλ)² / Σλ²` of the eigenvalues λ of the covariance.

    It is dim if all directions vary equally, 1 if the rows lie on a line, and 0 if all rows are equal. Takes a tensor
    or a NumPy array. Raises `DivergedError` if a row is not finite.
    """
    rows = tensor_of(embeddings).double()
    if not rows.isfinite().all():
        raise DivergedError("some embeddings are not finite: lower the learning rate if training diverged")
    covariance = torch.cov(rows.T, correction=0).view(rows.shape[1], -1)
    total = covariance.trace()
    varies = total > POINT * rows.square().sum(1).mean()
    return float(total.square() / covariance.square().sum()) if varies else 0.0
