"""Writing a file so that it cannot be lost: beside its place, flushed to disk, renamed."""

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from crossbatch.errors import DiskError

PARTIAL = ".partial"


def _nothing() -> None:
    """Nothing is to be done before the rename."""


@contextmanager
def whole(path: Path, before_rename: Callable[[], None] = _nothing) -> Iterator[BinaryIO]:
    """A file that takes the place of `path` once it is on the disk, to its last byte.

    Never by way of the system's temporary folder: a move from another file system is a copy, which can be torn. What
    was there before stays if anything fails, and no part of the new file remains. Raises `DiskError` in the words of
    the system: no space left, a quota, a disk that is read-only.
    """
    partial = path.with_name(f"{path.name}.{os.getpid()}{PARTIAL}")
    try:
        partial.unlink(missing_ok=True)  # a link too: what it leads to stays
        with partial.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        before_rename()
        partial.replace(path)
        flush_folder(path.parent)
    except OSError as error:
        way_out = "make it writable" if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS) else "make room"
        told = f"{path} cannot be written ({error.strerror or error}): what was there before stays"
        raise DiskError(f"{told}; {way_out}, and go on") from error
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Replace a text file whole (UTF-8)."""
    with whole(path) as file:
        file.write(text.encode("utf-8"))


def flush_folder(folder: Path) -> None:
    """Have the names of a folder on the disk, where folders can be flushed: Windows has no such call."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sweep(folder: Path) -> None:
    """Remove what processes that were killed have left half written in a folder that nobody else writes to now."""
    for partial in folder.glob(f"*{PARTIAL}"):
        partial.unlink(missing_ok=True)
