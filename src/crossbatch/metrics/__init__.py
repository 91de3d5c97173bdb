"""Exact search and the metrics of retrieval."""

from crossbatch.metrics.neighbors import Neighbors, nearest
from crossbatch.metrics.retrieval import Retrieval, evaluate

__all__ = ["Neighbors", "Retrieval", "evaluate", "nearest"]
