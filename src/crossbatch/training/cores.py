"""How the cores are shared: loader processes that read, torch threads that compute."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

MOST_WORKERS = 16  # each holds batches in memory; more of them would not feed a GPU faster


def share_cores(in_memory: bool, workers: int | None, *, on_cpu: bool, processes: int | None = None) -> tuple[int, int]:
    """Numbers of loader processes and torch threads that together take no more than the available cores.

    On a CPU, reading and training take turns on all cores: no share has to be guessed, and no core is idle (see
    `Reader`). The `small` network at 224 pixels on two cores trained on 26 photographs of 1000 pixels per second this
    way, on 16 with one core for reading and one for training, and on 25 with a loader process beside two threads
    (`benchmarks/pipeline.py --train small`). Beside a GPU all cores but one read, up to `MOST_WORKERS`. Torch takes no
    more threads than OMP_NUM_THREADS allows, so that several trainings can share the cores.
    `processes`: those of this run on this machine, which share the cores; by default as many as torchrun has started.
    """
    processes = processes or int(os.environ.get("LOCAL_WORLD_SIZE") or 1)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)
    cores = max(1, cores // processes)
    if workers is None:
        workers = 0 if in_memory or on_cpu else min(cores - 1, MOST_WORKERS)
    allowed = os.environ.get("OMP_NUM_THREADS", "")
    most_threads = int(allowed) if allowed.isdecimal() else cores
    return workers, max(1, min(cores - workers, most_threads))


@contextmanager
def torch_threads(threads: int) -> Iterator[None]:
    """Let torch use this many threads within the block."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
