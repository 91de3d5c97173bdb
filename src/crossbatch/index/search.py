"""Exact search in memory: the product of a query with all rows of length 1, and the largest cosines of it."""

import numpy as np
from numpy.typing import NDArray

QUERIES = 16  # queries at a time: their cosines with a million rows take 64 MB
CLOSE = 1e-6  # largest error of a float32 similarity, which varies with the number of queries multiplied together
NEAR = 1000  # most rows within `CLOSE` of the last similarity wanted, beside `top`, whose exact cosine is computed
GROUP = 64  # rows whose largest cosine is compared first: an eighth of the time of comparing each row


def nearest(
    queries: NDArray[np.float32], rows: NDArray[np.float32], top: int, allowed: NDArray[np.bool_] | None = None
) -> list[list[tuple[int, float]]]:
    """The `top` row numbers and cosines for each query [queries, dim], the most similar first; ties by row number.

    `allowed`: mask [rows] of the rows to search. The cosines returned are summed in double precision, so they do not
    depend on the other queries of the call.
    """
    hits = []
    for start in range(0, len(queries), QUERIES):
        block = queries[start : start + QUERIES]
        # Rows times queries: the other order takes up to twice as long.
        for query, column in zip(block, (rows @ block.T).T, strict=True):
            similarities = np.ascontiguousarray(column)
            if allowed is not None:
                similarities[~allowed] = -np.inf
            hits.append(exactly(query, rows, _largest(similarities, top), top))
    return hits


def exactly(
    query: NDArray[np.float32], rows: NDArray[np.float32], some: NDArray[np.int64], top: int
) -> list[tuple[int, float]]:
    """Among the row numbers `some`, ascending, the `top` most similar to a query, with their exact cosines."""
    cosines = rows[some].astype(np.float64) @ query.astype(np.float64)
    order = np.argsort(-cosines, kind="stable")[:top]
    return [(int(some[place]), float(cosines[place])) for place in order]


def _largest(similarities: NDArray[np.float32], top: int) -> NDArray[np.int64]:
    """Row numbers that may be among the `top` most similar, in ascending order."""
    some = _possible(similarities, top)
    values = similarities[some]
    smallest = np.partition(values, -top)[-top] if top < len(values) else -np.inf
    if smallest == -np.inf:
        return some[values > -np.inf]
    surely = values > smallest + CLOSE
    near = np.flatnonzero(~surely & (values >= smallest - CLOSE))[: top + NEAR]
    return np.sort(np.concatenate([some[surely], some[near]]))


def _possible(similarities: NDArray[np.float32], top: int) -> NDArray[np.int64]:
    """Few row numbers, ascending, among which the `top` most similar are: `top` groups of rows have one so similar."""
    maxima = np.maximum.reduceat(similarities, np.arange(0, len(similarities), GROUP))
    least = np.partition(maxima, -top)[-top] if top <= len(maxima) else -np.inf
    return np.flatnonzero(similarities >= least - CLOSE)
