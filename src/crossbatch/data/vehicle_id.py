"""PKU VehicleID: in each of three test lists, each image searches all the others.

This is not the re-identification protocol, which draws one gallery image per vehicle and gives lower results.
"""

from pathlib import Path

from crossbatch.data.data_set import DataSet
from crossbatch.data.published import TRAIN, Release, Row, build, read_rows
from crossbatch.data.split import Split
from crossbatch.errors import DataError

LISTS = {"small": 800, "medium": 1600, "large": 2400}
RELEASE = Release(
    "vehicle_id",
    "PKU VehicleID",
    "https://www.pkuml.org/resources/pku-vehicleid.html",
    "VehicleID_V1.0",
    ("train_test_split/train_list.txt",),
    {TRAIN: (113_346, 13_164)} | {name: (None, vehicles) for name, vehicles in LISTS.items()},
    (1, 5),
)


def load(root: Path | None, split: Split | None = None) -> DataSet:
    """Read rows `image vehicle`, without .jpg, of train_list.txt and test_list_800.txt, _1600.txt and _2400.txt."""
    base, listing = RELEASE.find(root)
    files = {TRAIN: listing} | {name: listing.with_name(f"test_list_{n}.txt") for name, n in LISTS.items()}
    labels: dict[str, str] = {}
    parts: dict[str, tuple[str, ...]] = {}
    for part, file in files.items():
        for image, label in read_rows(file, 2):
            if labels.setdefault(image, label) != label:
                raise DataError(f"{file}: image {image} is of vehicle {label} here and of {labels[image]} elsewhere")
            parts[image] = (*parts.get(image, ()), part)
    rows = [Row(f"image/{image}.jpg", label, parts[image]) for image, label in labels.items()]
    return build(RELEASE, base, rows, split, {name: (name, None) for name in LISTS})
