"""One writer a gallery: a lock that the system takes back when its process ends, however that happens."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from crossbatch.errors import RunError

FILE = "lock"


@contextmanager
def writing(gallery: Path) -> Iterator[None]:
    """Hold the gallery for writing; refused while another process does. Readers need no lock."""
    gallery.mkdir(parents=True, exist_ok=True)
    with (gallery / FILE).open("a+", encoding="ascii") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.seek(0)
            holder = file.read().strip() or "unknown"
            told = f"{gallery} is being written by another process (number {holder})"
            raise RunError(f"{told}: wait until it is done, or stop it") from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield
