"""Exact search among unit rows in memory: a product with all of them, and the largest of it."""

import numpy as np
from numpy.typing import NDArray

QUERIES = 16  # at a time, so that a million rows take 64 MB
CLOSE = 1e-6  # how far a similarity may lie from the exact one, by how many queries go together
NEAR = 1000  # rows within that of the last one wanted that are looked at


def nearest(
    queries: NDArray[np.float32], rows: NDArray[np.float32], top: int, allowed: NDArray[np.bool_] | None = None
) -> list[list[tuple[int, float]]]:
    """For each query [queries, dim] rows and their cosines, most similar first; of equals, the earlier row first.

    Cosines are summed in double precision for what is found: they are the same whoever else searches.
    """
    found = []
    for start in range(0, len(queries), QUERIES):
        some = queries[start : start + QUERIES]
        for query, similarities in zip(some, some @ rows.T, strict=True):
            if allowed is not None:
                similarities[~allowed] = -np.inf
            found.append(exactly(query, rows, _largest(similarities, top), top))
    return found


def exactly(
    query: NDArray[np.float32], rows: NDArray[np.float32], some: NDArray[np.int64], top: int
) -> list[tuple[int, float]]:
    """Some of the rows, in ascending order, by their cosines with a query: the most similar."""
    cosines = rows[some].astype(np.float64) @ query.astype(np.float64)
    order = np.argsort(-cosines, kind="stable")[:top]
    return [(int(some[one]), float(cosines[one])) for one in order]


def _largest(similarities: NDArray[np.float32], top: int) -> NDArray[np.int64]:
    """Rows that may be among the most similar, in ascending order."""
    smallest = np.partition(similarities, -top)[-top] if top < len(similarities) else -np.inf
    if smallest > -np.inf:
        surely = similarities > smallest + CLOSE
        sure = np.flatnonzero(surely)
        near = np.flatnonzero(~surely & (similarities >= smallest - CLOSE))[: top + NEAR]
        return np.sort(np.concatenate([sure, near]))
    return np.flatnonzero(similarities > -np.inf)
