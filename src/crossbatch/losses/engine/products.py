"""Products and reductions over blocks of [anchors, columns], how wide a block is, and in which precision.

On a CPU a block lies column by column, so that the products are faster: 64 anchors with 60,000 rows took 7.6 ms for
10.6 on two AMD cores. Arithmetic in place gives each thread a run of columns. A reduction, or a product, left to itself
gives it some of the anchors instead, which the caches of the other threads hold: the pass after a sum took up to 430 µs
for 31. So these go by runs of columns too, a reduction by a few columns at once: rows of 64 anchors are too short for
it (a sum over 60,000 rows took 1.7 ms one by one, 0.8 by fours).
"""

from collections.abc import Callable
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from crossbatch.shapes import on_cpu

AT_ONCE = 4  # columns, in a reduction
# Similarities of a block. On a CPU what one pass writes the next finds in the caches of the cores; within that, more
# at once lose less between passes: multi-similarity over 60,000 rows on two cores with 2 MB each took 16.7 ms with
# 1 MB at once and 14.3 ms with 4 MB; with 512 kB each, where 1 MB fits, NT-Xent 40.6 ms so and 35.3 with 2 MB. On a GPU
# 64 MB, in which 60,000 rows are one block.
FEWEST, MOST, STREAMED = 2**19, 2**22, 2**24
# Similarities up to which a CPU takes the whole matrix; a GPU up to a block. Of a batch with itself every column has a
# gradient, which takes a second look where it is streamed: 1,024 rows take a quarter to half of the time as a whole.
SMALL, SMALL_WITHIN = 2**16, 2**22
CACHES = Path("/sys/devices/system/cpu/cpu0/cache")  # of Linux
ASSUMED = 2**19  # bytes of cache, where the system does not tell
HALF_RANGE = 2.0**15  # what weights in float16 may add up to; its numbers end at 65,504


def columns_at_once(anchors: Tensor) -> int:
    """Columns of a block by default, for this many anchors on this device."""
    cached = torch.get_num_threads() * core_cache() // anchors.element_size()
    similarities = min(max(FEWEST, cached), MOST) if on_cpu(anchors) else STREAMED
    return max(512, similarities // max(len(anchors), 1))


def most_at_once(anchors: Tensor, within: bool) -> int:
    """Similarities up to which the whole matrix is taken, by default; `within`: of a batch with itself."""
    if not on_cpu(anchors):
        return STREAMED
    return SMALL_WITHIN if within else SMALL


@cache
def core_cache(caches: Path = CACHES) -> int:
    """Bytes of the second-level cache, which a core has to itself."""
    for each in sorted(caches.glob("index*")):
        try:
            if (each / "level").read_text().strip() == "2":
                return int((each / "size").read_text().strip().removesuffix("K")) * 1024
        except (OSError, ValueError):
            continue
    return ASSUMED


@cache
def multiplies(dtype: torch.dtype, device: torch.device) -> bool:
    """Whether the device multiplies matrices of this type itself, rather than converting them first.

    Float32 and float64 everywhere; bfloat16 with AMX or a recent GPU; float16 on any GPU. AVX512-BF16 alone does not
    count: there 64 × 128 by 128 × 16,384 took 1.5 × the time of float32 (torch 2.14).
    """
    if dtype not in (torch.bfloat16, torch.float16):
        return True
    if device.type == "cuda":
        return dtype == torch.float16 or torch.cuda.is_bf16_supported(including_emulation=False)
    has_amx = getattr(torch.cpu, "_is_amx_tile_supported", bool)  # no public name yet; a torch without it converts
    return device.type == "cpu" and dtype == torch.bfloat16 and bool(has_amx())


def product(anchors: Tensor, rows: Tensor, into: Tensor) -> Tensor:
    """`anchors @ rows.T`, written into `into`: fresh pages cost as much as a product."""
    out = into[: len(anchors) * len(rows)]
    if on_cpu(anchors) and anchors.dtype in (torch.float32, torch.float64):
        return torch.mm(rows, anchors.T, out=out.view(len(rows), len(anchors))).T
    return torch.mm(anchors, rows.T, out=out.view(len(anchors), len(rows)))


def weighted_rows(weights: Tensor, rows: Tensor, pairs: Tensor | None = None) -> Tensor:
    """`weights @ rows`, Σ weight · row of each anchor, [anchors, dim], in the precision of the weights.

    `pairs`: how many weights of each anchor are not 0. Where few are, as after a while of training, so few rows are
    multiplied. Weights that float16 would overflow at are brought into its range.
    """
    few = len(rows) // 4
    if pairs is not None and on_cpu(rows) and int(pairs.sum()) < few:
        columns = weights.abs().amax(0).nonzero()[:, 0]
        if len(columns) < few:
            weights, rows = weights.T[columns].T, rows[columns]
    if rows.dtype != torch.float16:
        return _by_runs(weights.to(rows.dtype), rows).to(weights.dtype)
    by = (weights.abs().sum(1, keepdim=True) / HALF_RANGE).clamp(min=torch.finfo(weights.dtype).tiny)
    return _by_runs((weights / by).half(), rows).to(weights.dtype) * by


def pair_sum(pairs: Tensor) -> Tensor:
    """Σ over the columns: [anchors]."""
    return _reduced(torch.sum, pairs)


def pair_max(pairs: Tensor) -> Tensor:
    """The greatest over the columns: [anchors]."""
    return _reduced(torch.amax, pairs)


def _by_runs(weights: Tensor, rows: Tensor) -> Tensor:
    if not _lies_by_columns(weights):
        return weights @ rows
    (weights, last), (rows, last_row) = _runs(weights.T), _runs(rows)
    found = torch.bmm(weights.transpose(1, 2), rows).sum(0)
    return found.addmm_(last.T, last_row) if last.shape[0] else found


def _reduced(reduce: Callable[[Tensor, int], Tensor], pairs: Tensor) -> Tensor:
    if not _lies_by_columns(pairs, AT_ONCE):
        return reduce(pairs, 1)
    runs, last = _runs(pairs.T, AT_ONCE)
    found = reduce(runs.unflatten(1, (-1, AT_ONCE)).flatten(2), 1).view(-1, pairs.shape[0])
    return reduce(torch.cat([found, last]) if last.shape[0] else found, 0)


def _lies_by_columns(pairs: Tensor, at_once: int = 1) -> bool:
    return not pairs.is_contiguous() and pairs.shape[1] >= torch.get_num_threads() * at_once


def _runs(columns: Tensor, at_once: int = 1) -> tuple[Tensor, Tensor]:
    """A run of each thread, [threads, columns of a thread, …], and the few columns that are left over."""
    threads = torch.get_num_threads()
    even = columns.shape[0] - columns.shape[0] % (threads * at_once)
    return columns[:even].unflatten(0, (threads, -1)), columns[even:]
