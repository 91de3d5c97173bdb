"""Data sets by name. A data set is one file with one function: `load(root, split) -> DataSet`."""

import difflib
from pathlib import Path
from typing import TYPE_CHECKING

from crossbatch.errors import DataError, MissingExtraError

if TYPE_CHECKING:
    from crossbatch.data.records import DataSet
    from crossbatch.data.split import Split

DATA_SETS = ("glyphs", "folder", "csv")


def load(name: str, root: Path | None = None, split: "Split | None" = None) -> "DataSet":
    """Read a data set by its name; images themselves are read when they are needed."""
    if name not in DATA_SETS:
        close = difflib.get_close_matches(name, DATA_SETS, n=1)
        hint = f" (did you mean {close[0]}?)" if close else ""
        raise DataError(f"there is no data set {name!r}{hint}: choose one of {', '.join(DATA_SETS)}")
    try:
        from crossbatch.data import csv, folder, glyphs  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise MissingExtraError("reading images", str(error.name), "train") from None
    loaders = {"glyphs": glyphs.load, "folder": folder.load, "csv": csv.load}
    return loaders[name](root, split)
