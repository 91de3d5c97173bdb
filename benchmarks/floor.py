"""The floor: the time of the two matrix products over a memory that a loss needs, and nothing else.

The first product gives the similarities of the batch with every row. The second adds up the rows with weights, as the
gradient does; here each weight is the similarity itself. Rows are processed in chunks, so that the second product finds
the result of the first in cache. A loss can be faster than the floor if most of its rows have no weight.
"""

import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor

CHUNKS = (1024, 2048, 4096, 8192, 16384)


def two_products(anchors: Tensor, rows: Tensor, chunk: int) -> Tensor:
    total = torch.zeros_like(anchors)
    for block in rows.split(chunk):
        total += (anchors @ block.T) @ block
    return total


def two_products_by_columns(anchors: Tensor, rows: Tensor, chunk: int) -> Tensor:
    """The same with transposed similarities: faster on some processors. Ratios always use the form above."""
    total = torch.zeros_like(anchors.T)
    for block in rows.split(chunk):
        total += block.T @ (block @ anchors.T)
    return total.T


def best_chunk(anchors: Tensor, rows: Tensor, repeats: int = 5) -> int:
    """The chunk size with the smallest median time."""
    return min(CHUNKS, key=lambda chunk: median_time(lambda: two_products(anchors, rows, chunk), repeats))


def median_time(call: Callable[[], object], repeats: int) -> float:
    call()
    return statistics.median(timed(call) for _ in range(repeats))


def timed(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - began


def interleaved(calls: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Median seconds of each call. The calls take turns, so that other load on the machine affects all alike."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for name in [name for _ in range(rounds) for name in calls]:
        times[name].append(timed(calls[name]))
    return {name: statistics.median(values) for name, values in times.items()}
