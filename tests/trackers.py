"""Lightning loggers of a user, named by their class paths in tests."""

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from lightning.pytorch.loggers import CSVLogger


class Eager(CSVLogger):
    """Writes to its folder as soon as it is made, as MLflow's does."""

    def __init__(self, save_dir: str, run_name: str | None = None) -> None:
        super().__init__(save_dir, name="eager")
        Path(save_dir).mkdir(parents=True)
        Path(save_dir, f"{run_name}.txt").touch()


class Unset(CSVLogger):
    """Lacks a setting and says so by an error of its own kind."""

    def __init__(self) -> None:
        raise RuntimeError("no server was named")


class OneRun(CSVLogger):
    """Goes on in the run that the process already has, as W&B's does; `made` holds the names of the runs."""

    made: tuple[str, ...] = ()
    statuses: tuple[int, ...] = ()

    def __init__(self, save_dir: str, name: str | None = None) -> None:
        super().__init__(save_dir, name="one run")
        wandb: Any = sys.modules["wandb"]
        if wandb.run is None:
            OneRun.made += (str(name),)
            wandb.run = SimpleNamespace(finish=self.ended)

    @classmethod
    def ended(cls, exit_code: int) -> None:
        """End the run of the process."""
        cls.statuses += (exit_code,)
        sys.modules["wandb"].run = None
