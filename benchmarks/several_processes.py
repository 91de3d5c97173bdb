"""Several processes over gloo on this machine: step time, bytes exchanged, memory per process, and equality of losses.

`python -m benchmarks.several_processes` writes `results/several-processes.csv`. A step is the loss and its backward
pass, without a network. Bytes are the sizes of the tensors that one process passes to collectives in one step. Each
tensor counts once, at the call.
"""

import argparse
import csv
import os
import platform
import re
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch.nn.functional import normalize

from crossbatch import ContrastiveLoss, CrossBatchLoss, CrossBatchMemory

RESULTS = Path(__file__).parent / "results" / "several-processes.csv"
BATCH, DIM, CHUNK = 64, 128, 2**16


def kilobytes() -> int:
    """Current resident memory of this process, in KiB."""
    return int(re.search(r"VmRSS:\s+(\d+)", Path("/proc/self/status").read_text())[1])


def filled(rows: int, sharded: bool) -> CrossBatchMemory:
    memory = CrossBatchMemory(rows, DIM, sharded=sharded)
    draw = torch.Generator().manual_seed(0)
    for first in range(0, rows, CHUNK):
        count = min(CHUNK, rows - first)
        memory.enqueue(torch.randn(count, DIM, generator=draw), torch.randint(rows // 20, (count,), generator=draw))
    return memory


def counting(sent: list[int]) -> None:
    """Replace the collectives by versions that add the bytes of each tensor to `sent[0]`."""
    gather, reduce = dist.all_gather, dist.all_reduce

    def counted_gather(into: Any, one: torch.Tensor, **options: Any) -> None:
        sent[0] += one.numel() * one.element_size()
        gather(into, one, **options)

    def counted_reduce(one: torch.Tensor, *arguments: Any, **options: Any) -> None:
        sent[0] += one.numel() * one.element_size()
        reduce(one, *arguments, **options)

    dist.all_gather, dist.all_reduce = counted_gather, counted_reduce


def member(rank: int, count: int, folder: str, rows: int, steps: int, sharded: bool) -> None:
    torch.set_num_threads(1)
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    if count > 1:
        dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=count)
    before = kilobytes()
    memory = filled(rows, sharded)
    held = kilobytes() - before
    loss_fn, sent, times, losses = CrossBatchLoss(ContrastiveLoss(neg_margin=0.2), memory), [0], [], []
    counting(sent)
    for step in range(steps):
        draw = torch.Generator().manual_seed(step)
        batch = normalize(torch.randn(BATCH, DIM, generator=draw))
        labels = torch.randint(rows // 20, (BATCH,), generator=draw)
        own = slice(rank * BATCH // count, (rank + 1) * BATCH // count)
        sent[0], began = 0, time.perf_counter()
        loss = loss_fn(batch[own].requires_grad_(), labels[own])
        loss.backward()
        times.append(time.perf_counter() - began)
        losses.append(loss.item())
    found = {"seconds": statistics.median(times), "bytes": sent[0], "kilobytes": held, "losses": losses}
    torch.save(found, Path(folder, str(rank)))
    if count > 1:
        dist.barrier()
        dist.destroy_process_group()


def measured(count: int, rows: int, steps: int, sharded: bool) -> list[dict[str, Any]]:
    with tempfile.TemporaryDirectory() as folder:
        given = (count, folder, rows, steps, sharded)
        mp.start_processes(member, given, nprocs=count, start_method="spawn")
        return [torch.load(Path(folder, str(rank)), weights_only=True) for rank in range(count)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[60_000, 2_000_000])
    parser.add_argument("--steps", type=int, default=10)
    given = parser.parse_args()
    table, alone = [], {}
    for rows in given.rows:
        for count, sharded in ((1, False), (2, False), (2, True)):
            found = measured(count, rows, given.steps, sharded)
            mean = torch.tensor([one["losses"] for one in found], dtype=torch.float64).mean(0)
            alone.setdefault(rows, mean)
            table.append(
                {
                    "processes": count,
                    "memory": "sharded" if sharded else "whole",
                    "rows": rows,
                    "step_ms": round(1000 * max(one["seconds"] for one in found), 2),
                    "bytes_a_step": found[0]["bytes"],
                    "memory_MB": round(max(one["kilobytes"] for one in found) / 1024, 1),
                    "loss_apart": f"{float((mean - alone[rows]).abs().max()):.1e}",
                    "torch": torch.__version__,
                    "machine": f"{platform.machine()}, {os.cpu_count()} cores, one thread a process",
                }
            )
            print(table[-1], flush=True)
    with RESULTS.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(table[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(table)


if __name__ == "__main__":
    main()
