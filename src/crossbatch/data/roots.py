"""The errors for a root that cannot be read as a data set."""

from collections.abc import Sequence
from pathlib import Path

from crossbatch.errors import DataError


def wrong_root(data: str, root: Path | None, takes: str) -> DataError:
    """The error for a root that is not given, does not exist, or is a file instead of a folder or vice versa."""
    if root is None:
        return DataError(f"--data {data} needs ROOT, {takes}")
    problem = "is a folder" if root.is_dir() else "is a file" if root.exists() else "does not exist"
    return DataError(f"{root} {problem}: --data {data} takes {takes}")


def with_notes(problem: str, notes: Sequence[str]) -> DataError:
    """The error for a data set that is too small, with the notes on how it was read in brackets."""
    return DataError(f"{problem} ({'; '.join(notes)})" if notes else problem)
