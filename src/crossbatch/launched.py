"""How many processes were started together, and which this is; without torch, where nothing has imported it."""

import os
import sys


def started() -> int:
    """How many processes train together, by the process group, or by what started them."""
    if trains():
        return int(sys.modules["torch.distributed"].get_world_size())
    return int(os.environ.get("WORLD_SIZE") or 1)


def started_rank() -> int:
    """Which of the processes this is, by the process group, or by what started it."""
    if trains():
        return int(sys.modules["torch.distributed"].get_rank())
    told = (os.environ.get(name) for name in ("RANK", "SLURM_PROCID", "LOCAL_RANK"))
    return int(next(filter(None, told), 0))


def trains() -> bool:
    """Whether a process group is there, and what goes wrong may do so in one process alone."""
    distributed = sys.modules.get("torch.distributed")
    return distributed is not None and distributed.is_available() and distributed.is_initialized()
