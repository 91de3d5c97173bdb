"""The floor: two matrix products over a memory, and nothing else; a loss that most rows have no weight in needs less.

Similarities of the batch with every row, and the gradient's sum over every row with a weight; here each weight is the
similarity itself. A chunk of rows at a time, so that what one product writes the other finds in cache.
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
    """The same, similarities transposed: faster on some processors. Ratios are to the form above all the same."""
    total = torch.zeros_like(anchors.T)
    for block in rows.split(chunk):
        total += block.T @ (block @ anchors.T)
    return total.T


def best_chunk(anchors: Tensor, rows: Tensor, repeats: int = 5) -> int:
    """The chunk size of five with the least median time."""
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
    """Median seconds of each call, all taking turns, so that what the machine does hits all alike."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for name in [name for _ in range(rounds) for name in calls]:
        times[name].append(timed(calls[name]))
    return {name: statistics.median(values) for name, values in times.items()}
