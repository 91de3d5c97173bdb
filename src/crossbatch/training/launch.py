"""How many processes a run has, and on how many machines: the launcher or `--loop.devices` decides."""

import os
from typing import Any

from lightning.fabric.plugins.environments.slurm import SLURMEnvironment

from crossbatch.errors import SettingError


def by_launcher() -> tuple[int, int]:
    """How many processes torchrun or SLURM started, in all and on this machine; 1, 0 where none did.

    Lightning tells the processes that it starts their number too, but not how many are on this machine.
    """
    world, here = int(os.environ.get("WORLD_SIZE") or 1), int(os.environ.get("LOCAL_WORLD_SIZE") or 0)
    if world == 1 and SLURMEnvironment.detect():
        world = int(os.environ["SLURM_NTASKS"])
        here = world // int(os.environ.get("SLURM_JOB_NUM_NODES") or os.environ.get("SLURM_NNODES") or 1)
    started_by_lightning = "LOCAL_RANK" in os.environ and not here
    return (1, 0) if world == 1 or started_by_lightning else (world, here or world)


def layout(devices: int | None) -> dict[str, Any]:
    """Arguments of Lightning's Trainer. torchrun and SLURM start the processes; without them Lightning does."""
    world, here = by_launcher()
    if world == 1:
        world = here = devices or 1
    if devices is not None and devices != here:
        raise SettingError(
            f"--loop.devices {devices} contradicts the {here} processes that were started on this machine: leave it out"
        )
    strategy = "ddp" if world > 1 else "auto"
    return {"devices": here, "num_nodes": world // here, "strategy": strategy, "use_distributed_sampler": False}
