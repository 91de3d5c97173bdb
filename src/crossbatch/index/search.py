"""Exact search among unit rows in memory: a product with all of them, and the largest of it."""

import numpy as np
from numpy.typing import NDArray

QUERIES = 16  # at a time, so that a million rows take 64 MB


def nearest(
    queries: NDArray[np.float32], rows: NDArray[np.float32], top: int, allowed: NDArray[np.bool_] | None = None
) -> list[list[tuple[int, float]]]:
    """For each query [queries, dim] rows and their cosines, most similar first; of equals, the earlier row first."""
    found = []
    for start in range(0, len(queries), QUERIES):
        for similarities in queries[start : start + QUERIES] @ rows.T:
            if allowed is not None:
                similarities[~allowed] = -np.inf
            found.append(_largest(similarities, top))
    return found


def _largest(similarities: NDArray[np.float32], top: int) -> list[tuple[int, float]]:
    if top < len(similarities):
        smallest = np.partition(similarities, -top)[-top]
        some = np.flatnonzero(similarities >= smallest)  # more than wanted, where several are equal to the smallest
    else:
        some = np.arange(len(similarities))
    order = some[np.argsort(-similarities[some], kind="stable")][:top]
    return [(int(row), float(similarities[row])) for row in order if similarities[row] > -np.inf]
