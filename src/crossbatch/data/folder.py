"""A user's own images: one folder per class, or `query/` and `gallery/` beside the training folders."""

import hashlib
from collections.abc import Set as AbstractSet
from pathlib import Path

import torch

from crossbatch.data.data_set import DataSet, Part, Search, hold_out, queries, require_pairs
from crossbatch.data.image_files import FileImages
from crossbatch.data.split import Split
from crossbatch.errors import DataError

SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff"}
TRAIN, QUERY, GALLERY = "train", "query", "gallery"
ROLES = (TRAIN, QUERY, GALLERY)


def load(root: Path | None, split: Split | None = None) -> DataSet:
    """Read `root/CLASS/…image`; with `root/query/CLASS/…` and `root/gallery/CLASS/…` these two are the test part.

    Training classes are then the other folders of `root`, or those in `root/train`. Without them a
    class-disjoint test part is held out.
    """
    if root is None or not root.is_dir():
        raise DataError(f"--data folder needs ROOT, a folder with one folder of images per class; got {root}")
    has_test = (root / QUERY).is_dir()
    if has_test != (root / GALLERY).is_dir():
        raise DataError(f"{root} has only one of query/ and gallery/: bring both, or neither to have a test part made")
    train_root = root / TRAIN if (root / TRAIN).is_dir() and has_test else root
    skipped = {root / role for role in (QUERY, GALLERY)} if has_test else frozenset[Path]()
    rows = [(path, label, TRAIN) for path, label in _images_by_class(train_root, skipped)]
    if has_test:
        rows += [(path, label, role) for role in (QUERY, GALLERY) for path, label in _images_by_class(root / role)]
    for place, role in ((root / QUERY, QUERY), (root / GALLERY, GALLERY)) if has_test else ((root, TRAIN),):
        if all(row[2] != role for row in rows):
            expected = f"expected one folder per class with {', '.join(sorted(SUFFIXES))} files"
            raise DataError(f"no images in {place}: {expected}")
    return build("folder", root, rows, split or Split())


def _images_by_class(root: Path, skipped: AbstractSet[Path] = frozenset()) -> list[tuple[Path, str]]:
    folders = sorted(path for path in root.iterdir() if path.is_dir() and path not in skipped)
    return [
        (path, folder.name)
        for folder in folders
        for path in sorted(folder.rglob("*"))
        if path.suffix.lower() in SUFFIXES and path.is_file()
    ]


def build(name: str, root: Path, rows: list[tuple[Path, str, str]], split: Split) -> DataSet:
    """Make a data set of (path, label, role) rows; what the roles leave open is held out by class."""
    names = tuple(sorted({label for _, label, _ in rows}))
    numbers = {label: number for number, label in enumerate(names)}
    labels = torch.tensor([numbers[label] for _, label, _ in rows], dtype=torch.int64)
    first: dict[Path, int] = {}
    # A file listed twice, say as query and as gallery image, is one image with one id.
    ids = torch.tensor([first.setdefault(path, number) for number, (path, _, _) in enumerate(rows)])
    everything = Part(labels, ids)
    train, query, gallery = (everything.select(torch.tensor([row[2] == role for row in rows])) for role in ROLES)
    notes = []
    if len(query) == 0:
        require_pairs(train, "data set")
        train, query = _hold_out(train, split.test_share, split.seed, "--split.test_share", "test part")
        notes.append(f"no test part given: {query.classes} of {len(names)} classes were held out for test")
    elif len(gallery) == 0:
        require_pairs(query, "test part")
    elif not torch.isin(query.labels, gallery.labels).any():
        raise DataError("no class of the query images is in the gallery: there is nothing to find")
    require_pairs(train, "training part")
    train, validation = _hold_out(
        train, split.validation_share, split.seed, "--split.validation_share", "validation part"
    )
    shared = len(set(train.labels.tolist()) & set(query.labels.tolist()))
    if shared:
        notes.append(f"{shared} classes are in both training and test: results are closed-set")
    images = FileImages((path for path, _, _ in rows), root)
    fingerprint = _fingerprint(rows, root)
    test = Search(query, gallery if len(gallery) else None)
    return DataSet(name, images, names, train, validation, {"test": test}, fingerprint, notes=notes)


def _hold_out(part: Part, share: float, seed: int, option: str, what: str) -> tuple[Part, Part]:
    """Divide by classes, and say before the training, not after it, that a side has nothing to find."""
    rest, held = hold_out(part, share, seed, option)
    for name, side in (("training part", rest), (what, held)):
        if len(side) and not queries(side).any():
            raise DataError(
                f"with {option}={share} no class of the {name} has two images: "
                "change the share, or have other classes drawn with --split.seed"
            )
    return rest, held


def _fingerprint(rows: list[tuple[Path, str, str]], root: Path) -> str:
    """Of the listing (paths, sizes, labels, roles), not of the pixels: reading them all would take minutes."""
    digest = hashlib.sha256()
    for path, label, role in rows:
        size = path.stat().st_size if path.is_file() else -1
        place = path.relative_to(root) if path.is_relative_to(root) else path
        digest.update(f"{place}\t{size}\t{label}\t{role}\n".encode())
    return digest.hexdigest()[:8]
