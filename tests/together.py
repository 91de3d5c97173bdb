"""Run a function in several processes on this machine over gloo, and return their results in the order of ranks."""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp


def together(count: int, work: Callable[..., Any], *arguments: Any) -> list[Any]:
    """Run `work(*arguments)` in `count` processes: a module-level function with a result that `torch.save` takes."""
    with tempfile.TemporaryDirectory() as folder:
        mp.start_processes(_member, (count, folder, work, arguments), nprocs=count, start_method="spawn")
        return [torch.load(Path(folder, str(rank)), weights_only=True) for rank in range(count)]


def _member(rank: int, count: int, folder: str, work: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    torch.set_num_threads(1)
    as_torchrun = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": count, "LOCAL_WORLD_SIZE": count}
    os.environ |= {name: str(value) for name, value in as_torchrun.items()}
    os.environ |= {"TORCHELASTIC_RUN_ID": "tests", "MASTER_ADDR": "localhost", "MASTER_PORT": "0"}
    os.environ |= {"GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1"}
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=count)
    torch.save(work(*arguments), Path(folder, str(rank)))
    dist.barrier()
    dist.destroy_process_group()
