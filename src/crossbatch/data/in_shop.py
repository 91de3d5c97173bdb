"""DeepFashion In-shop Clothes Retrieval: each query image searches the gallery."""

from pathlib import Path

from crossbatch.data.data_set import DataSet
from crossbatch.data.published import TRAIN, Release, Row, build, read_rows
from crossbatch.data.split import Split
from crossbatch.errors import DataError

PARTS = (TRAIN, "query", "gallery")
RELEASE = Release(
    "in_shop",
    "In-shop Clothes Retrieval",
    "https://mmlab.ie.cuhk.edu.hk/projects/DeepFashion/InShopRetrieval.html",
    "In-shop Clothes Retrieval Benchmark",
    ("Eval/list_eval_partition.txt", "list_eval_partition.txt"),
    {TRAIN: (25_882, 3_997), "query": (14_218, 3_985), "gallery": (12_612, 3_985)},
    (1, 10, 20, 30, 40, 50),
)


def load(root: Path | None, split: Split | None = None) -> DataSet:
    """Read a count, a header, then rows `image_name item_id evaluation_status`; images lie in Img/img/ or img/."""
    folder, listing = RELEASE.find(root)
    rows = []
    for path, label, status in read_rows(listing, 3, skip=2):
        if status not in PARTS:
            raise DataError(f"{listing}: the status of {path} must be train, query or gallery, got {status!r}")
        rows.append(Row(path, label, (status,)))
    _require_count(listing, len(rows))
    base = folder / "Img" if (folder / "Img" / "img").is_dir() else folder
    loaded = build(RELEASE, base, rows, split, {"test": ("query", "gallery")})
    _require_answers(loaded)
    return loaded


def _require_count(listing: Path, rows: int) -> None:
    with listing.open(encoding="utf-8-sig") as lines:
        announced = lines.readline().strip()
    if announced != str(rows):
        raise DataError(f"{listing} announces {announced} images in its first line and lists {rows:,}: unpack it again")


def _require_answers(loaded: DataSet) -> None:
    search = loaded.tests["test"]
    unanswered = set(search.query.labels.tolist()) - set(search.gallery.labels.tolist() if search.gallery else ())
    if unanswered:
        raise DataError(
            f"{RELEASE.title}: {len(unanswered):,} query items have no gallery image, the first is "
            f"{loaded.class_names[min(unanswered)]}: mend the listing"
        )
