"""Exact nearest-neighbour search and retrieval metrics."""

from crossbatch.metrics.breakdown import ClassResult, by_class, worst_first
from crossbatch.metrics.dimensions import effective_dimensions
from crossbatch.metrics.neighbors import Neighbors, nearest
from crossbatch.metrics.retrieval import Retrieval, evaluate

__all__ = [
    "ClassResult",
    "Neighbors",
    "Retrieval",
    "by_class",
    "effective_dimensions",
    "evaluate",
    "nearest",
    "worst_first",
]
