"""The number of processes that were started together, and the rank of this one, without importing torch."""

import os
import sys


def started() -> int:
    """Number of processes that train together, from the process group if there is one, else from the environment."""
    if trains():
        return int(sys.modules["torch.distributed"].get_world_size())
    return int(os.environ.get("WORLD_SIZE") or _tasks() or 1)


def started_rank() -> int:
    """Rank of this process, from the process group if there is one, else from the environment; 0 by default."""
    if trains():
        return int(sys.modules["torch.distributed"].get_rank())
    ranks = (os.environ.get(name) for name in ("RANK", "SLURM_PROCID", "LOCAL_RANK"))
    return int(next(filter(None, ranks), 0))


def _tasks() -> str | None:
    """Number of tasks that `srun` started; an interactive shell is one of them, whatever their number."""
    interactive = os.environ.get("SLURM_JOB_NAME") in ("bash", "interactive")
    return None if interactive else os.environ.get("SLURM_STEP_NUM_TASKS")


def trains() -> bool:
    """Whether a process group is initialized. From then on, a process may meet an error that the others do not."""
    distributed = sys.modules.get("torch.distributed")
    return distributed is not None and distributed.is_available() and distributed.is_initialized()
