"""The error for a root that a data set cannot read."""

from pathlib import Path

from crossbatch.errors import DataError


def wrong_root(data: str, root: Path | None, takes: str) -> DataError:
    """The error for a root that is not given, does not exist, or is a file instead of a folder or vice versa."""
    if root is None:
        return DataError(f"--data {data} needs ROOT, {takes}")
    problem = "is a folder" if root.is_dir() else "is a file" if root.exists() else "does not exist"
    return DataError(f"{root} {problem}: --data {data} takes {takes}")
