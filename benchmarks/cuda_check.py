"""Verify and time the losses on a CUDA device: `python -m benchmarks.cuda_check`.

It prints each check, names the losses that fail, and then exits with status 1. The checks are: value and gradient
against the plain form in float64 on the CPU; gradients with half-precision rows against those with float32 rows; and
finite gradients from many close rows in float16. It also prints the bytes of a memory of the paper's size, peak memory,
and times beside the roofline: the longer of the time of the products and the time to read the rows.
"""

import sys
import time
from collections.abc import Callable
from functools import partial

import torch
from torch.nn.functional import cosine_similarity, normalize

from benchmarks.floor import best_chunk, interleaved, two_products
from benchmarks.memories import Memory, random_unit
from crossbatch import CrossBatchMemory
from crossbatch.losses import LOSSES, Pairing, PairLoss
from crossbatch.losses.reference import reference_compare

PAPER_ROWS, PAPER_DIM = 59_551, 512
TRIPLET_ROWS = 2_000  # the plain form holds anchors × positives × negatives triplets


def main() -> int:
    if not torch.cuda.is_available():
        print("no CUDA device here: nothing was checked")
        return 0
    print(torch.cuda.get_device_name(), "torch", torch.__version__)
    failed = [name for name in LOSSES for check in (agrees, half_agrees, is_finite) if not check(name)]
    paper_bytes()
    for name in ("contrastive", "multi-similarity", "sup-con", "triplet"):
        times(name)
    print("failed: " + ", ".join(failed) if failed else "all agree")
    return 1 if failed else 0


def agrees(name: str) -> bool:
    memory = random_unit(TRIPLET_ROWS, 128, 64)
    value, gradient = value_and_gradient(name, memory, "cuda", torch.float32)
    exact, exact_gradient = value_and_gradient(name, memory, "cpu", torch.float64, plain=True)
    apart = float((gradient - exact_gradient).norm() / exact_gradient.norm())
    print(f"{name:18s} value {value:.6f}, exact {exact:.6f}; gradient off by {apart:.1e} of its length")
    return abs(value - exact) <= 1e-3 * max(1, abs(exact)) and apart < 0.01


def half_agrees(name: str) -> bool:
    memory = random_unit(60_000, 128, 64)
    _, single = value_and_gradient(name, memory, "cuda", torch.float32)
    good = True
    for dtype in (torch.bfloat16, torch.float16):
        _, half = value_and_gradient(name, memory._replace(rows=memory.rows.to(dtype)), "cuda", None)
        cosine, longer = float(cosine_similarity(half, single, dim=0)), float(half.norm() / single.norm())
        print(f"{name:18s} rows in {dtype}: gradients' cosine {cosine:.6f}, lengths' ratio {longer:.4f}")
        good &= cosine > 0.999 and abs(longer - 1) < 0.01
    return good


def is_finite(name: str) -> bool:
    """Check the gradient of 200,000 close rows in float16. Their weights add up beyond the largest float16 number."""
    memory = random_unit(200_000, 128, 64)
    close = normalize(memory.anchors[:1] + 0.02 * memory.rows)
    _, gradient = value_and_gradient(name, memory._replace(anchors=close[:64], rows=close.half()), "cuda", None)
    good = bool(gradient.isfinite().all())
    print(f"{name:18s} 200,000 close rows in float16: {'finite' if good else 'NOT FINITE'}")
    return good


def value_and_gradient(
    name: str, memory: Memory, device: str, dtype: torch.dtype | None, *, plain: bool = False
) -> tuple[float, torch.Tensor]:
    loss_fn: PairLoss = LOSSES[name]()
    loss_fn.to(device)
    anchors = memory.anchors.to(device, dtype).requires_grad_()
    rows = memory.rows.to(device) if dtype is None else memory.rows.to(device, dtype)
    pairing = Pairing(memory.labels.to(device), memory.row_labels.to(device))
    compare: Callable[..., torch.Tensor] = (lambda *a: reference_compare(loss_fn, *a)) if plain else loss_fn.compare
    loss = compare(anchors, rows, pairing)
    (gradient,) = torch.autograd.grad(loss, anchors)
    return float(loss.detach()), gradient.flatten().double().cpu()


def paper_bytes() -> None:
    memory = CrossBatchMemory(PAPER_ROWS, PAPER_DIM, device="cuda")
    print(f"a memory of {PAPER_ROWS:,} × {PAPER_DIM} takes {memory.nbytes / 1e9:.3f} GB; the paper says 0.2 GB")


def times(name: str) -> None:
    """Time forward and backward for several chunk sizes. The floor uses its own fastest chunk size."""
    for rows in (60_000, 1_000_000):
        memory = Memory(*(part.cuda() for part in random_unit(rows, 128, 64)))
        chunk = best_chunk(memory.anchors, memory.rows)
        calls = {"floor": partial(two_products, memory.anchors, memory.rows, chunk)}
        calls |= {f"chunk {size}": _step(name, memory, size) for size in (16_384, 65_536)}
        calls["chunk by default"] = _step(name, memory, None)
        for call in calls.values():
            call()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        calls["chunk by default"]()
        peak = (torch.cuda.max_memory_allocated() - before) / 2**20
        found = interleaved(calls, 20) | {"roofline": roofline(rows, 128, 64)}
        said = ", ".join(f"{key} {1e3 * value:.2f} ms" for key, value in found.items())
        print(f"{name:18s} {rows:>9,} rows: {said}; peak {peak:.0f} MB")


def _step(name: str, memory: Memory, chunk: int | None) -> Callable[[], None]:
    loss_fn, anchors = LOSSES[name]().cuda(), memory.anchors.clone().requires_grad_()
    loss_fn.width = chunk
    pairing = Pairing(memory.labels, memory.row_labels)

    def step() -> None:
        anchors.grad = None
        loss_fn.compare(anchors, memory.rows, pairing).backward()

    return step


def roofline(rows: int, dim: int, batch: int) -> float:
    """Least seconds of a step, from rates measured on this device with a large product and a large copy."""
    left, right = torch.randn(4096, 4096, device="cuda"), torch.randn(4096, 4096, device="cuda")
    products = 2 * 4096**3 / _seconds(lambda: left @ right)
    big = torch.empty(2**28, device="cuda")
    copied = 2 * big.numel() * 4 / _seconds(big.clone)
    return max(4 * rows * dim * batch / products, 2 * rows * dim * 4 / copied)


def _seconds(call: Callable[[], object], repeats: int = 10) -> float:
    call()
    torch.cuda.synchronize()
    began = time.perf_counter()
    for _ in range(repeats):
        call()
    torch.cuda.synchronize()
    return (time.perf_counter() - began) / repeats


if __name__ == "__main__":
    sys.exit(main())
