"""A lock on a folder, which a dead process does not hold."""

import errno
import os
import platform
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

from crossbatch.errors import RunError

try:
    import fcntl
except ModuleNotFoundError:  # Windows: there a folder is not locked
    fcntl = None  # type: ignore[assignment]

PAUSE = 0.05  # seconds between two tries
_noting = threading.Lock()
_held = set[Path]()  # by this process, which the system would let in twice


@contextmanager
def locked(file: Path, remedy: str, *, wait: float = 0.0) -> Iterator[None]:
    """Hold the folder of `file` while it is written to; refuse one that another process holds, and say the remedy.

    What is held for a moment alone is waited for, `wait` seconds at most.

    A lock of the system on a file, which ends with the process, however that ends, and which loader processes do not
    inherit (POSIX record locks).
    """
    if fcntl is None:
        yield
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    told, place, until = f"{file.parent} is in use by process", file.resolve(), time.monotonic() + wait
    while not _is_first(place):
        if time.monotonic() >= until:
            raise RunError(f"{told} {os.getpid()}: {remedy}")
        time.sleep(PAUSE)
    try:
        with open(file, "a+", encoding="utf-8", opener=_no_link) as opened:
            while not (taken := _taken(opened)) and time.monotonic() < until:
                time.sleep(PAUSE)
            if not taken:
                opened.seek(0)
                raise RunError(f"{told} {opened.read(200).strip() or '?'}: {remedy}")
            with suppress(OSError):  # a full disk does not keep it from being held
                opened.truncate(0)
                opened.write(f"{os.getpid()} on {platform.node()}")
                opened.flush()
            yield
    finally:
        _held.discard(place)


def _no_link(file: str, flags: int) -> int:
    """Open a file, and never one that a link leads to: the folder may be a stranger's, and a lock is written to."""
    try:
        return os.open(file, flags | os.O_NOFOLLOW, 0o666)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise RunError(f"{file} is a link, and a lock would be written to where it leads: remove it") from error
        raise


def _is_first(place: Path) -> bool:
    """Note that this process holds a place; False if it does already: opening it again would give the lock back."""
    with _noting:
        if place in _held:
            return False
        _held.add(place)
        return True


def _taken(opened: TextIO) -> bool:
    try:
        fcntl.lockf(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    except OSError:
        return True  # a file system that knows no locks
    return True
