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
    ("cars_annos.mat", "devkit/cars_train_annos.mat"),
    {TRAIN: (8_054, 98), "test": (8_131, 98)},
    (1, 2, 4, 8),
)


def load(root: Path | None, split: Split | None = None) -> DataSet:
    """Read the image and class of every row of cars_annos.mat, or of the two files of the devkit.

    Which of the images the release calls test has no effect: the classes decide.
    """
    base, listing = RELEASE.find(root)
    rows = [
        Row(str(path), str(label), (TRAIN if label <= TRAINING_CLASSES else "test",))
        for path, label in (_annotations(listing, "relative_im_path") if listing.parent == base else _of_devkit(base))
    ]
    return build(RELEASE, base, rows, split, {"test": ("test", None)})


def _of_devkit(base: Path) -> list[tuple[str, int]]:
    """The rows of the layout with the folders cars_train, cars_test and devkit."""
    tested = "cars_test_annos_withlabels.mat"  # a download of its own, in the devkit or beside it
    labelled = next((file for file in (base / "devkit" / tested, base / tested) if file.is_file()), None)
    if labelled is None:
        raise DataError(f"{RELEASE.title} in {base} lacks {tested}, the classes of cars_test: bring it into devkit/")
    files = {"cars_train": base / "devkit" / "cars_train_annos.mat", "cars_test": labelled}
    return [
        (f"{folder}/{name}", label) for folder, file in files.items() for name, label in _annotations(file, "fname")
    ]


def _annotations(listing: Path, image: str) -> list[tuple[Any, int]]:
    try:
        from scipy.io import loadmat  # noqa: PLC0415
    except ModuleNotFoundError:
        raise MissingExtraError(f"reading {listing.name}", "scipy", "train") from None
    try:
        table = loadmat(listing, squeeze_me=True)["annotations"]
        return list(zip(table[image].tolist(), map(int, table["class"].tolist()), strict=True))
    except Exception as error:  # a damaged file may raise anything: MatReadError, zlib.error, KeyError, …
        raise DataError(
            f"{listing} cannot be read ({str(error).splitlines()[0] if str(error) else type(error).__name__}): "
            f"it must hold `annotations` with {image} and class; unpack it again"
        ) from error
