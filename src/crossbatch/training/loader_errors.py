"""Errors of a loader process, without the traceback that torch puts into their message."""

from collections.abc import Iterator
from contextlib import contextmanager

from crossbatch.errors import CrossBatchError


@contextmanager
def without_traceback() -> Iterator[None]:
    """Raise an error of this package from a loader process with its own message alone."""
    try:
        yield
    except CrossBatchError as error:
        kind = f"{type(error).__module__}.{type(error).__name__}: "
        if "Original Traceback" not in str(error) or kind not in str(error):
            raise
        raise type(error)(str(error).rpartition(kind)[2].strip()) from None
