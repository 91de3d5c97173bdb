"""CUB-200-2011: the first 100 classes are for training; each image of the others searches all other test images."""

from pathlib import Path

from crossbatch.data.data_set import DataSet
from crossbatch.data.published import TRAIN, Release, Row, build, read_rows
from crossbatch.data.split import Split
from crossbatch.errors import DataError

TRAINING_CLASSES = 100
RELEASE = Release(
    "cub",
    "CUB-200-2011",
    "https://www.vision.caltech.edu/datasets/cub_200_2011/",
    "CUB_200_2011",
    ("images.txt",),
    {TRAIN: (5_864, 100), "test": (5_924, 100)},
    (1, 2, 4, 8, 16, 32),
)


def load(root: Path | None, split: Split | None = None) -> DataSet:
    """Read rows `id path` of images.txt and `id class` of image_class_labels.txt; the release's split is not used."""
    base, listing = RELEASE.find(root)
    classes = dict(read_rows(base / "image_class_labels.txt", 2))
    rows = []
    for number, path in read_rows(listing, 2):
        label = classes.get(number, "")
        if not label.isdecimal() or int(label) < 1:
            raise DataError(
                f"{base / 'image_class_labels.txt'} has no class number for image {number} ({path}): unpack it again"
            )
        part = TRAIN if int(label) <= TRAINING_CLASSES else "test"
        rows.append(Row(f"images/{path}", path.partition("/")[0], (part,)))
    return build(RELEASE, base, rows, split, {"test": ("test", None)})
