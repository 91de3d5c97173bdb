"""Replace a file safely: write a new one beside it, flush it to the disk, and rename it."""

import errno
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from crossbatch.errors import DiskError

PARTIAL = ".partial"


def _nothing() -> None:
    """Do nothing before the rename."""


@contextmanager
def whole(path: Path, before_rename: Callable[[], None] = _nothing) -> Iterator[BinaryIO]:
    """Open a new file for writing; it replaces `path` once all of it is on the disk.

    The new file is written in the folder of `path`, not in the system's temporary folder, since a move from another
    file system is a copy, which can end half way. If anything fails, the old file stays and the new one is removed.
    Raises `DiskError` with the reason that the system gives, such as a full or read-only disk.
    """
    partial = path.with_name(f"{path.name}.{os.getpid()}-{threading.get_ident()}{PARTIAL}")
    try:
        partial.unlink(missing_ok=True)  # if it is a link, this removes the link and not its target
        with partial.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        before_rename()
        partial.replace(path)
        flush_folder(path.parent)
    except OSError as error:
        if isinstance(error.filename, str) and Path(error.filename) not in (partial, path, path.parent):
            raise  # of another file, which the caller reads while it writes this one
        way_out = "make it writable" if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS) else "make room"
        reason = f"{path} cannot be written ({error.strerror or error}): what was there before stays"
        raise DiskError(f"{reason}; {way_out}, and go on") from error
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Replace a text file safely, in UTF-8."""
    with whole(path) as file:
        file.write(text.encode("utf-8"))


def flush_folder(folder: Path) -> None:
    """Flush the directory entries of a folder to the disk; on Windows, which has no such call, do nothing."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sweep(folder: Path) -> None:
    """Remove partly written files that killed processes left in a folder; no other process may write to it."""
    for partial in folder.glob(f"*{PARTIAL}"):
        partial.unlink(missing_ok=True)
