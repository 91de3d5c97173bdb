"""Data sets, loaded by name or by the import path of a user's function `load(root, split) -> DataSet`."""

import difflib
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from crossbatch.errors import DataError, MissingExtraError, SettingError
from crossbatch.harmless import shown
from crossbatch.imported import imported

if TYPE_CHECKING:
    from crossbatch.data.data_set import DataSet
    from crossbatch.data.split import Split
    from crossbatch.data.typefaces import Script

DATA_SETS = {
    "glyphs": "crossbatch.data.glyphs.load",
    "folder": "crossbatch.data.folder.load",
    "csv": "crossbatch.data.csv.load",
    "sop": "crossbatch.data.sop.load",
    "in_shop": "crossbatch.data.in_shop.load",
    "vehicle_id": "crossbatch.data.vehicle_id.load",
    "cub": "crossbatch.data.cub.load",
    "cars": "crossbatch.data.cars.load",
}
TABLES = (".csv", ".tsv", ".parquet", ".jsonl")
LISTINGS = {  # files that identify a published data set; similar ones, as NABirds or Consumer-to-shop, lack them
    "sop": ("Ebay_train.txt",),
    "in_shop": ("Anno/list_item_inshop.txt",),
    "vehicle_id": ("train_test_split/train_list.txt",),
    "cub": ("attributes/class_attribute_labels_continuous.txt",),
    "cars": ("cars_annos.mat", "devkit/cars_train_annos.mat"),
}


def name_for(root: Path | None) -> str:
    """Choose a data set by its root: glyphs for None, csv for a table, a published set by its listing, else folder."""
    if root is None:
        return "glyphs"
    if root.suffix.lower() in TABLES:
        return "csv"
    with suppress(OSError):  # the path is too long
        return next((name for name in LISTINGS if any((root / file).is_file() for file in LISTINGS[name])), "folder")
    return "folder"


def called(name: str, root: Path | str | None) -> str:
    """The display name of a data set: the last part of its root for `folder` and `csv`, else its own name."""
    folder_name = "" if root is None or name not in ("folder", "csv") else Path(root).resolve().name
    return shown(folder_name) or name


def load(
    name: str,
    root: Path | None = None,
    split: "Split | None" = None,
    fonts: Sequence[Path] = (),
    script: "Script | None" = None,
) -> "DataSet":
    """Load a data set; image files are read later, when they are needed. Only glyphs take `fonts` and `script`."""
    if name not in DATA_SETS and "." not in name:
        close = difflib.get_close_matches(name, DATA_SETS, n=1)
        hint = f" (did you mean {close[0]}?)" if close else ""
        raise DataError(
            f"there is no data set {name!r}{hint}: choose one of {', '.join(DATA_SETS)}, "
            "or give the path of a function of your own, as my_module.load"
        )
    if (fonts or script) and name != "glyphs":
        raise DataError(
            f"--fonts and --script are for --data glyphs, not for {name}: "
            "leave them out (--fonts is given once per place)"
        )
    try:
        loader = imported(DATA_SETS.get(name, name), "--data")
    except SettingError as error:
        missing = error.__cause__
        if name in DATA_SETS and isinstance(missing, ModuleNotFoundError):
            raise MissingExtraError("reading images", str(missing.name), "train") from None
        raise
    if name not in DATA_SETS:
        from crossbatch.data import own  # noqa: PLC0415  (imports Pillow)

        return own.load(name, loader, root, split)
    loaded: DataSet = loader(root, split, fonts, script) if name == "glyphs" else loader(root, split)
    return loaded
