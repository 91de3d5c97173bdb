"""What is said of a place that is not what a data set takes."""

from pathlib import Path

from crossbatch.errors import DataError


def wrong_root(data: str, root: Path | None, takes: str) -> DataError:
    """The error for a root that is not given, is not there, or is a file for a folder or the other way round."""
    if root is None:
        return DataError(f"--data {data} needs ROOT, {takes}")
    found = "is a folder" if root.is_dir() else "is a file" if root.exists() else "does not exist"
    return DataError(f"{root} {found}: --data {data} takes {takes}")
