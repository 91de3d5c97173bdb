"""Products and reductions over blocks [anchors, columns], the width of a block, and the precision of products.

On a CPU a block is stored column by column, which makes the products faster: 64 anchors with 60,000 rows took 7.6 ms
instead of 10.6 on two AMD cores. Arithmetic in place gives each thread a run of columns. By default a reduction or a
product gives each thread some of the anchors instead, whose data the caches of the other threads hold: the pass after
a sum then took up to 430 µs instead of 31. So products and reductions here are split into runs of columns too. A
reduction takes a few columns at once, since the 64 anchors of one column are too short a run (a sum over 60,000 rows
took 1.7 ms a column at a time, 0.8 by fours).
"""

from collections.abc import Callable
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from crossbatch.shapes import on_cpu

AT_ONCE = 4  # columns that a reduction takes at once
# Number of similarities in a block. On a CPU a block should fit the caches of the cores, so that each pass finds what
# the pass before wrote. A larger block that still fits loses less time between passes: multi-similarity over 60,000
# rows on two cores with 2 MB each took 16.7 ms with blocks of 1 MB and 14.3 ms with 4 MB. On two cores with 512 kB
# each, where 1 MB fits, NT-Xent took 40.6 ms with blocks of 1 MB and 35.3 with 2 MB. On a GPU a block has 64 MB: 60,000
# rows with 64 anchors are one block.
FEWEST, MOST, STREAMED = 2**19, 2**22, 2**24
# Number of similarities up to which a CPU computes the whole matrix at once; a GPU does so up to one block. In a batch
# compared with itself every column has a gradient, which costs a streamed computation a second pass: 1,024 rows take a
# quarter to half of the time when the matrix is computed whole.
SMALL, SMALL_WITHIN = 2**16, 2**22
CACHES = Path("/sys/devices/system/cpu/cpu0/cache")  # where Linux describes the caches of a core
ASSUMED = 2**19  # bytes of cache, where the system does not say
HALF_RANGE = 2.0**15  # greatest sum of weights in float16, whose largest number is 65,504


def columns_at_once(anchors: Tensor) -> int:
    """Default number of columns in a block, for the number of anchors and their device."""
    cached = torch.get_num_threads() * core_cache() // anchors.element_size()
    similarities = min(max(FEWEST, cached), MOST) if on_cpu(anchors) else STREAMED
    return max(512, similarities // max(len(anchors), 1))


def most_at_once(anchors: Tensor, within: bool) -> int:
    """Number of similarities up to which the whole matrix is computed; `within`: a batch is compared with itself."""
    if not on_cpu(anchors):
        return STREAMED
    return SMALL_WITHIN if within else SMALL


@cache
def core_cache(caches: Path = CACHES) -> int:
    """Bytes of the second-level cache, which belongs to one core."""
    for folder in sorted(caches.glob("index*")):
        try:
            if (folder / "level").read_text().strip() == "2":
                return int((folder / "size").read_text().strip().removesuffix("K")) * 1024
        except (OSError, ValueError):
            continue
    return ASSUMED


@cache
def multiplies(dtype: torch.dtype, device: torch.device) -> bool:
    """Whether the device multiplies matrices of this type directly, without converting them first.

    True for float32 and float64 everywhere, for bfloat16 with AMX or on a recent GPU, and for float16 on any GPU.
    AVX512-BF16 alone does not count: with it 64 × 128 by 128 × 16,384 took 1.5 × the time of float32 (torch 2.14).
    """
    if dtype not in (torch.bfloat16, torch.float16):
        return True
    if device.type == "cuda":
        return dtype == torch.float16 or torch.cuda.is_bf16_supported(including_emulation=False)
    # torch has no public name for this. A torch without it counts as a device without AMX.
    has_amx = getattr(torch.cpu, "_is_amx_tile_supported", bool)
    return device.type == "cpu" and dtype == torch.bfloat16 and bool(has_amx())


def product(anchors: Tensor, rows: Tensor, into: Tensor) -> Tensor:
    """`anchors @ rows.T`, written into `into`, since new memory pages cost as much time as the product."""
    out = into[: len(anchors) * len(rows)]
    if on_cpu(anchors) and anchors.dtype in (torch.float32, torch.float64):
        return torch.mm(rows, anchors.T, out=out.view(len(rows), len(anchors))).T
    return torch.mm(anchors, rows.T, out=out.view(len(anchors), len(rows)))


def weighted_rows(weights: Tensor, rows: Tensor, pairs: Tensor | None = None) -> Tensor:
    """`weights @ rows`: Σ weight · row of each anchor, [anchors, dim], in the precision of the weights.

    `pairs`: how many weights of each anchor are not 0. Where they are few, as later in training, only their rows are
    multiplied. For rows in float16 the weights are scaled into its range, so that they do not overflow.
    """
    few = len(rows) // 4
    if pairs is not None and on_cpu(rows) and int(pairs.sum()) < few:
        columns = weights.abs().amax(0).nonzero()[:, 0]
        if len(columns) < few:
            weights, rows = weights.T[columns].T, rows[columns]
    if rows.dtype != torch.float16:
        return _by_runs(weights.to(rows.dtype), rows).to(weights.dtype)
    scale = (weights.abs().sum(1, keepdim=True) / HALF_RANGE).clamp(min=torch.finfo(weights.dtype).tiny)
    return _by_runs((weights / scale).half(), rows).to(weights.dtype) * scale


def pair_sum(pairs: Tensor) -> Tensor:
    """Σ over the columns: [anchors]."""
    return _reduced(torch.sum, pairs)


def pair_max(pairs: Tensor) -> Tensor:
    """Maximum over the columns: [anchors]."""
    return _reduced(torch.amax, pairs)


def _by_runs(weights: Tensor, rows: Tensor) -> Tensor:
    if not _lies_by_columns(weights):
        return weights @ rows
    (weights, last), (rows, last_row) = _runs(weights.T), _runs(rows)
    products = torch.bmm(weights.transpose(1, 2), rows).sum(0)
    return products.addmm_(last.T, last_row) if last.shape[0] else products


def _reduced(reduce: Callable[[Tensor, int], Tensor], pairs: Tensor) -> Tensor:
    if not _lies_by_columns(pairs, AT_ONCE):
        return reduce(pairs, 1)
    runs, last = _runs(pairs.T, AT_ONCE)
    partial = reduce(runs.unflatten(1, (-1, AT_ONCE)).flatten(2), 1).view(-1, pairs.shape[0])
    return reduce(torch.cat([partial, last]) if last.shape[0] else partial, 0)


def _lies_by_columns(pairs: Tensor, at_once: int = 1) -> bool:
    return not pairs.is_contiguous() and pairs.shape[1] >= torch.get_num_threads() * at_once


def _runs(columns: Tensor, at_once: int = 1) -> tuple[Tensor, Tensor]:
    """Split columns into equal runs, [threads, columns of a thread, …], and the few columns left over."""
    threads = torch.get_num_threads()
    even = columns.shape[0] - columns.shape[0] % (threads * at_once)
    return columns[:even].unflatten(0, (threads, -1)), columns[even:]
