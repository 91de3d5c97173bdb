"""The lock on a run folder."""

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from lightning.fabric.utilities.rank_zero import rank_zero_only

from crossbatch import locks, runs


def locked(folder: Path) -> AbstractContextManager[None]:
    """Hold the lock of a run folder while it is written to. Of several processes of one run, the first holds it."""
    if getattr(rank_zero_only, "rank", None):
        return nullcontext()
    return locks.locked(folder / runs.LOCK, "wait for its end, or name another --out")
