"""Cars-196: the first 98 classes are for training; each image of the others searches all other test images."""

from pathlib import Path
from typing import Any

from crossbatch.data.data_set import DataSet
from crossbatch.data.published import TRAIN, Release, Row, build
from crossbatch.data.split import Split
from crossbatch.errors import DataError, MissingExtraError

TRAINING_CLASSES = 98
RELEASE = Release(
    "cars",
    "Cars-196",
    "https://ai.stanford.edu/~jkrause/cars/car_dataset.html",
    "cars",
    ("cars_annos.mat",),
    {TRAIN: (8_054, 98), "test": (8_131, 98)},
    (1, 2, 4, 8),
)


def load(root: Path | None, split: Split | None = None) -> DataSet:
    """Read the fields `relative_im_path` and `class` of cars_annos.mat; its test flag is not used."""
    base, listing = RELEASE.find(root)
    rows = [
        Row(str(path), str(label), (TRAIN if label <= TRAINING_CLASSES else "test",))
        for path, label in _annotations(listing)
    ]
    return build(RELEASE, base, rows, split, {"test": ("test", None)})


def _annotations(listing: Path) -> list[tuple[Any, int]]:
    try:
        from scipy.io import loadmat  # noqa: PLC0415
    except ModuleNotFoundError:
        raise MissingExtraError(f"reading {listing.name}", "scipy", "train") from None
    try:
        table = loadmat(listing, squeeze_me=True)["annotations"]
        return list(zip(table["relative_im_path"].tolist(), map(int, table["class"].tolist()), strict=True))
    except Exception as error:  # a damaged file may raise anything: MatReadError, zlib.error, KeyError, …
        raise DataError(
            f"{listing} cannot be read ({str(error).splitlines()[0] if str(error) else type(error).__name__}): "
            "it must hold `annotations` with relative_im_path and class; unpack it again"
        ) from error
