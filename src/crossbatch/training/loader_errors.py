"""Errors of a loader process, in their own words: torch puts the whole traceback of the process into them."""

from collections.abc import Iterator
from contextlib import contextmanager

from crossbatch.errors import CrossBatchError


@contextmanager
def without_traceback() -> Iterator[None]:
    """An error of ours that comes out of a loader process says what it said there."""
    try:
        yield
    except CrossBatchError as error:
        kind = f"{type(error).__module__}.{type(error).__name__}: "
        if "Original Traceback" not in str(error) or kind not in str(error):
            raise
        raise type(error)(str(error).rpartition(kind)[2].strip()) from None
