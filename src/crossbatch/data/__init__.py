"""Data sets by name. A data set is one file with one function: `load(root, split) -> DataSet`."""

import difflib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from crossbatch.errors import DataError, MissingExtraError

if TYPE_CHECKING:
    from crossbatch.data.data_set import DataSet
    from crossbatch.data.split import Split

DATA_SETS = ("glyphs", "folder", "csv", "sop", "in_shop", "vehicle_id", "cub", "cars")


def load(
    name: str,
    root: Path | None = None,
    split: "Split | None" = None,
    fonts: Sequence[Path] = (),
    script: Literal["han"] | None = None,
) -> "DataSet":
    """Read a data set by its name; images themselves are read when they are needed. Glyphs alone take fonts."""
    if name not in DATA_SETS:
        close = difflib.get_close_matches(name, DATA_SETS, n=1)
        hint = f" (did you mean {close[0]}?)" if close else ""
        raise DataError(f"there is no data set {name!r}{hint}: choose one of {', '.join(DATA_SETS)}")
    try:
        from crossbatch.data import cars, csv, cub, folder, glyphs, in_shop, sop, vehicle_id  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise MissingExtraError("reading images", str(error.name), "train") from None
    sets = (glyphs, folder, csv, sop, in_shop, vehicle_id, cub, cars)
    loaders: dict[str, Callable[..., DataSet]] = {name: one.load for name, one in zip(DATA_SETS, sets, strict=True)}
    if name == "glyphs":
        return glyphs.load(root, split, fonts, script)
    if fonts or script:
        raise DataError(f"--fonts and --script are for --data glyphs, not for {name}: leave them out")
    return loaders[name](root, split)
