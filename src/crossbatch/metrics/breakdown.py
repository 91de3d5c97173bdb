"""Retrieval results by class and by query, to see where a search fails."""

from typing import NamedTuple

from torch import Tensor

from crossbatch.metrics.retrieval import Retrieval
from crossbatch.shapes import Labels


class ClassResult(NamedTuple):
    """Number of queries of one class, and the means of their metrics."""

    label: int
    queries: int
    recall_at_1: float
    r_precision: float
    map_at_r: float


def by_class(measured: Retrieval, query_labels: Labels) -> list[ClassResult]:
    """Return the results of each class that has a measured query, the worst class first."""
    classes, place = query_labels[measured.query_positions].unique(return_inverse=True)
    count = place.bincount(minlength=len(classes))
    values = ((measured.best_rank == 1).double(), measured.precision.double(), measured.average_precision.double())
    means = [place.bincount(value, minlength=len(classes)) / count for value in values]
    columns = (column.tolist() for column in (classes, count, *means))
    results = [ClassResult(*row) for row in zip(*columns, strict=True)]
    return sorted(results, key=lambda result: (result.recall_at_1, result.map_at_r, result.label))


def worst_first(measured: Retrieval) -> Tensor:
    """Order the measured queries, the worst first: by the rank of the first relevant row, then by average precision."""
    order = measured.query_positions.argsort(stable=True)
    order = order[measured.average_precision[order].argsort(stable=True)]
    worst: Tensor = order[measured.best_rank[order].argsort(stable=True, descending=True)]
    return worst
