"""A lock on a run folder, which a dead process does not hold."""

import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

from lightning.fabric.utilities.rank_zero import rank_zero_only

from crossbatch import runs
from crossbatch.errors import RunError

try:
    import fcntl
except ModuleNotFoundError:  # Windows: there a run folder is not locked
    fcntl = None  # type: ignore[assignment]


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a folder while it is written to; refuse one that another process holds.

    A lock of the system on a file, which ends with the process, however that ends, and which loader processes do not
    inherit (POSIX record locks). Of several processes of one run, the first holds it.
    """
    if fcntl is None or getattr(rank_zero_only, "rank", None):
        yield
        return
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / runs.LOCK).open("a+", encoding="utf-8") as file:
        _take(file, folder)
        with suppress(OSError):  # a full disk does not keep it from being held
            file.truncate(0)
            file.write(f"{os.getpid()} on {platform.node()}")
            file.flush()
        yield


def _take(file: TextIO, folder: Path) -> None:
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError) as error:
        file.seek(0)
        raise RunError(
            f"{folder} is in use by process {file.read(200).strip() or '?'}: wait for its end, or name another --out"
        ) from error
    except OSError:
        return  # a file system that knows no locks
