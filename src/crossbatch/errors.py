"""Every error that this package raises on purpose; each message says what was given, what fits and how to go on.

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
TERMINATED = 143  # exit status after SIGTERM, as in shells and schedulers: 128 + the number of the signal
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
    """An image cannot be read; `reason` is the message without the advice on how to go on."""

    def __init__(self, told: str, way_out: str = "") -> None:
        super().__init__(f"{told}; {way_out}" if way_out else told)
        self.reason = told


class RunError(CrossBatchError):
    """A run folder or checkpoint is missing, incomplete, or not to be overwritten."""


class FailedError(CrossBatchError):
    """The input was accepted, but the work failed later."""


class DivergedError(FailedError):
    """Training left embeddings or a loss that are not finite."""


class DiskError(FailedError):
    """A file cannot be written: the disk is full, or read-only."""


class Terminated(KeyboardInterrupt):
    """SIGTERM ended the work; it was saved before."""


class MissingExtraError(CrossBatchError):
    """A feature needs a package that the base install leaves out."""

    def __init__(self, feature: str, package: str, extra: str) -> None:
        super().__init__(f'{feature} needs {package}: pip install ".[{extra}]" in the clone of crossbatch')


def of_place(error: OSError) -> CrossBatchError | None:
    """Convert a system error about an unusable path or a full disk to an error of this package; None for others."""
    if error.errno in NO_PLACE and error.filename is not None:
        place = os.fsdecode(error.filename).removesuffix(".partial")
        return SettingError(f"{place} cannot be used ({error.strerror}): name another place")
    if error.errno in NO_ROOM:
        return DiskError(f"no room on the disk ({error}): make some, and go on")
    return None
