"""Stanford Online Products: each test image searches all other test images."""

from pathlib import Path

from crossbatch.data.data_set import DataSet
from crossbatch.data.published import TRAIN, Release, Row, build, read_rows
from crossbatch.data.split import Split
from crossbatch.errors import DataError

RELEASE = Release(
    "sop",
    "Stanford Online Products",
    "https://cvgl.stanford.edu/projects/lifted_struct/",
    "Stanford_Online_Products",
    ("Ebay_train.txt",),
    {TRAIN: (59_551, 11_318), "test": (60_502, 11_316)},
    (1, 10, 100, 1000),
)


def load(root: Path | None, split: Split | None = None) -> DataSet:
    """Read rows `image_id class_id super_class_id path` of Ebay_train.txt and Ebay_test.txt, after one header line."""
    base, _ = RELEASE.find(root)
    for part in (TRAIN, "test"):
        _refuse_without_header(base / f"Ebay_{part}.txt")
    rows = [
        Row(path, label, (part,))
        for part in (TRAIN, "test")
        for _, label, _, path in read_rows(base / f"Ebay_{part}.txt", 4, skip=1)
    ]
    return build(RELEASE, base, rows, split, {"test": ("test", None)})


def _refuse_without_header(listing: Path) -> None:
    """Refuse a listing whose first line is an image: it would be taken for the header."""
    first = next(read_rows(listing, 4), ["image_id"])
    if first[0] != "image_id":
        raise DataError(
            f"{listing} begins with an image and not with image_id class_id super_class_id path: add that line"
        )
