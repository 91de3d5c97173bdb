"""Every error this package raises on purpose; each message says what was given, what fits and the way out.

* CrossBatchError
  - ShapeError
  - SettingError
  - DataError
    - UnreadableError
  - RunError
  - FailedError
    - DivergedError
    - DiskError
  - MissingExtraError
"""

import errno
import os

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
TERMINATED = 143  # exit status after SIGTERM, as shells and schedulers have it: 128 and the number of the signal
NO_PLACE = (
    errno.ENOENT,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.EEXIST,
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
    errno.ENAMETOOLONG,
)


class CrossBatchError(ValueError):
    """Base of all errors raised by crossbatch; the command line prints it in one line."""


class ShapeError(CrossBatchError):
    """Tensors that belong together do not fit together."""


class SettingError(CrossBatchError):
    """An option or parameter has a value that cannot work."""


class DataError(CrossBatchError):
    """A data set is missing, broken or too small for what was asked of it."""


class UnreadableError(DataError):
    """An image cannot be read; `reason` is its message without the way out, which depends on who reads."""

    def __init__(self, told: str, way_out: str = "") -> None:
        super().__init__(f"{told}; {way_out}" if way_out else told)
        self.reason = told


class RunError(CrossBatchError):
    """A run folder or checkpoint is missing, incomplete, or not to be overwritten."""


class FailedError(CrossBatchError):
    """Not bad input, but work that failed while it was under way."""


class DivergedError(FailedError):
    """Training left embeddings or a loss that are not finite."""


class DiskError(FailedError):
    """A file cannot be written: the disk is full, or read-only."""


class Terminated(KeyboardInterrupt):
    """SIGTERM has ended what was under way, and it is saved."""


class MissingExtraError(CrossBatchError):
    """A feature needs a package that the base install leaves out."""

    def __init__(self, feature: str, package: str, extra: str) -> None:
        super().__init__(f'{feature} needs {package}: pip install ".[{extra}]" in the clone of crossbatch')


def of_place(error: OSError) -> CrossBatchError | None:
    """What to say of a place that cannot be used, or a disk without room; None of all else."""
    if error.errno in NO_PLACE and error.filename is not None:
        place = os.fsdecode(error.filename).removesuffix(".partial")
        return SettingError(f"{place} cannot be used ({error.strerror}): name another place")
    if error.errno in NO_ROOM:
        return DiskError(f"no room on the disk ({error}): make some, and go on")
    return None
