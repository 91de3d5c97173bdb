"""A lock on a folder, which ends with the process that holds it."""

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
except ModuleNotFoundError:  # on Windows folders are not locked
    fcntl = None  # type: ignore[assignment]

PAUSE = 0.05  # seconds between two tries
_noting = threading.Lock()
_held = set[Path]()  # locks of this process, since the system lets a process take its own lock twice


@contextmanager
def locked(file: Path, remedy: str, *, wait: float = 0.0) -> Iterator[None]:
    """Lock the folder of `file` while it is written to; refuse a folder that is locked, with `remedy` in the message.

    `wait`: seconds to wait for the lock, for locks that are held only for a moment.

    The lock is a POSIX record lock on `file`. It ends with the process, however that ends, and loader processes do not
    inherit it.
    """
    if fcntl is None:
        yield
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    message, place, deadline = f"{file.parent} is in use by process", file.resolve(), time.monotonic() + wait
    while not _is_first(place):
        if time.monotonic() >= deadline:
            raise RunError(f"{message} {os.getpid()}: {remedy}")
        time.sleep(PAUSE)
    try:
        with open(file, "a+", encoding="utf-8", opener=_no_link) as lock_file:
            while not (taken := _taken(lock_file)) and time.monotonic() < deadline:
                time.sleep(PAUSE)
            if not taken:
                lock_file.seek(0)
                raise RunError(f"{message} {lock_file.read(200).strip() or '?'}: {remedy}")
            with suppress(OSError):  # on a full disk the lock is held without this note
                lock_file.truncate(0)
                lock_file.write(f"{os.getpid()} on {platform.node()}")
                lock_file.flush()
            yield
    finally:
        _held.discard(place)


def holder(file: Path) -> str:
    """The other process that holds the lock of a folder; empty if none does."""
    if fcntl is None or not file.is_file() or file.resolve() in _held:
        return ""
    with suppress(OSError), open(file, "r+", encoding="utf-8", opener=_no_link) as lock_file:
        if not _taken(lock_file):
            return lock_file.read(200).strip() or "?"
    return ""


def _no_link(file: str, flags: int) -> int:
    """Open a file but refuse a symbolic link: a stranger's folder could make this overwrite the file it points to."""
    try:
        return os.open(file, flags | os.O_NOFOLLOW, 0o666)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise RunError(f"{file} is a link, and a lock would be written to where it leads: remove it") from error
        raise


def _is_first(place: Path) -> bool:
    """Record that this process holds a lock; False if it holds it already.

    The file must not be opened again then, since closing it would release the lock.
    """
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
        return True  # the file system has no locks
    return True
