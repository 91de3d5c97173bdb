"""A data set from files with labels and roles: one image per file, classes held out for parts that are not given."""

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from crossbatch.data.copies import copies
from crossbatch.data.data_set import DataSet, Part, Search, hold_out, queries, require_pairs
from crossbatch.data.image_files import FileImages
from crossbatch.data.roots import with_notes
from crossbatch.data.split import Split
from crossbatch.errors import DataError

TRAIN, VALIDATION, TEST, QUERY, GALLERY = ROLES = ("train", "validation", "test", "query", "gallery")


class Row(NamedTuple):
    """A file, its label, its role, and the place that states them, such as `line 7`."""

    path: Path
    label: str
    role: str
    place: str


def build(name: str, root: Path, rows: Sequence[Row], split: Split, notes: Sequence[str] = ()) -> DataSet:
    """Build a data set; if no row has the role test or validation, whole classes are held out for that part."""
    stats = [_stat(row.path) for row in rows]
    rows, sizes, ids, repeats = _one_image_a_file(rows, stats)
    images = sorted(set(ids))
    groups = copies([rows[image].path for image in images], [sizes[image] for image in images])
    copied = [[images[position] for position in group] for group in groups]
    notes = [*notes, *repeats]
    names = tuple(sorted({row.label for row in rows}))
    numbers = {label: number for number, label in enumerate(names)}
    labels = torch.tensor([numbers[row.label] for row in rows], dtype=torch.int64)
    everything = Part(labels, torch.tensor(ids, dtype=torch.int64))
    parts = {
        role: everything.select(torch.tensor([row.role == role for row in rows], dtype=torch.bool)) for role in ROLES
    }
    train, validation = parts[TRAIN], parts[VALIDATION]
    query, gallery = parts[QUERY] + parts[TEST], parts[GALLERY]
    _require_classes(root, [names[label] for label in train.labels.unique().tolist()], parts, split, notes)
    if len(query) == 0:
        require_pairs(train, "data set")
        train, query = _hold_out(train, split.test_share, split.seed, "--split.test_share", "test part")
        were = "was" if query.classes == 1 else "were"
        notes.append(f"no test part given: {query.classes} of {len(names)} classes {were} held out for test")
        tested = torch.isin(validation.labels, query.labels)  # validation must not see test classes
        notes += [f"{int(tested.sum()):,} validation images are of these classes, and not used"] if tested.any() else []
        validation = validation.select(~tested)
    elif len(gallery) == 0:
        require_pairs(query, "test part")
    elif not torch.isin(query.labels, gallery.labels).any():
        raise DataError("no class of the query images is in the gallery: there is nothing to find")
    require_pairs(train, "training part")
    if len(validation) == 0:
        option = "--split.validation_share"
        train, validation = _hold_out(train, split.validation_share, split.seed, option, "validation part")
    else:
        require_pairs(validation, "validation part")
    notes += _not_read(split, {"test_share": parts[QUERY] + parts[TEST], "validation_share": parts[VALIDATION]})
    for part_name, part in (("validation", validation), ("test", query)):
        if len(part) and not len(gallery) and part.classes == 1:
            notes.append(f"the {part_name} part has one class, so its R@1 is 1 for any model: bring more classes")
        shared = len(set(train.labels.tolist()) & set(part.labels.tolist()))
        if shared:
            notes.append(f"{shared} classes are in both training and {part_name}: results are closed-set")
    files = FileImages((row.path for row in rows), root)
    notes += _unbelievable(copied, files, labels, (train, validation, query, gallery))
    test = Search(query, gallery if len(gallery) else None)
    fingerprint = _fingerprint(rows, sizes, root)
    return DataSet(name, files, names, train, validation, {"test": test}, fingerprint, notes=notes, copies=copied)


def _require_classes(
    root: Path, classes: Sequence[str], parts: Mapping[str, Part], split: Split, notes: Sequence[str]
) -> None:
    """Refuse fewer training classes than the parts that need one; the error says how the data were read."""
    test = not len(parts[QUERY] + parts[TEST]) and split.test_share > 0
    validation = not len(parts[VALIDATION]) and split.validation_share > 0
    fewest = 1 + test + validation
    if 0 < len(classes) < fewest:
        named = "1 class" if len(classes) == 1 else f"{len(classes)} classes"
        held = " and ".join([*(["validation"] if validation else []), *(["test"] if test else [])])
        raise with_notes(
            f"{root} is read as {named} to train on, {', '.join(map(repr, classes))}; with classes held out for {held} "
            f"it takes {fewest} or more: a class is a folder of its own in ROOT, or a label of its own in a table; "
            "--split.test_share 0 --split.validation_share 0 train on all classes",
            notes,
        )


def _not_read(split: Split, given: Mapping[str, Part]) -> list[str]:
    """A note for each share that the user set although the data set brings that part itself."""
    ignored = [name for name, part in given.items() if len(part) and getattr(split, name) != getattr(Split, name)]
    return [f"the data set is divided already, so --split.{name} is not read" for name in ignored]


def _stat(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except OSError:
        return None


def _one_image_a_file(
    rows: Sequence[Row], stats: Sequence[os.stat_result | None]
) -> tuple[list[Row], list[int], list[int], list[str]]:
    """Rows, sizes and ids without repeats, and notes. A file has one id and one label by all its paths and links."""
    first: dict[object, int] = {}
    kept: list[Row] = []
    sizes, ids, seen = [], [], set()
    for row, stat in zip(rows, stats, strict=True):
        identity = row.path if stat is None else (stat.st_dev, stat.st_ino)
        number = first.setdefault(identity, len(kept))
        earlier = kept[number] if number < len(kept) else row
        if earlier.label != row.label:
            raise DataError(
                f"{earlier.place} and {row.place} are one file under two labels, {earlier.label!r} and {row.label!r}: "
                "keep the one that is right"
            )
        if (identity, row.role) in seen:
            continue
        seen.add((identity, row.role))
        kept.append(row)
        sizes.append(-1 if stat is None else stat.st_size)
        ids.append(number)
    repeats = len(rows) - len(kept)
    return kept, sizes, ids, [_again(repeats)] if repeats else []


def _again(count: int) -> str:
    paths = "1 more path leads" if count == 1 else f"{count:,} more paths lead"
    return f"{paths} to a file that is there already: it is one image"


def _unbelievable(same: Sequence[Sequence[int]], files: FileImages, labels: Tensor, parts: Sequence[Part]) -> list[str]:
    """Notes on images in several parts, and on copies in `same` (groups of ids), which make a metric unreliable."""
    train, validation, query, gallery = ({*part.ids.tolist()} for part in parts)
    learnt, tested = train | validation, query | gallery
    both = sorted(learnt & tested)
    notes = [f"{len(both):,} images are in both training and test, as {files.name(both[0])}"] if both else []
    kinds: dict[str, Callable[[set[int]], bool]] = {
        "stand under more than one label": lambda group: len({int(labels[image]) for image in group}) > 1,
        "are in both training and test": lambda group: bool(group & learnt) and bool(group & tested),
        "are in the test part, where each finds the other": lambda group: len(group & query) > 1 and not gallery,
        "are in both query and gallery": lambda group: (
            bool(group & query and group & gallery) and len(group & tested) > 1
        ),
    }
    for problem, is_affected in kinds.items():
        affected = [group for group in same if is_affected({*group})]
        if affected:
            pair = " and ".join(map(files.name, affected[0][:2]))
            notes.append(f"{sum(map(len, affected)):,} files that are copies byte for byte {problem}, as {pair}")
    return notes


def _hold_out(part: Part, share: float, seed: int, option: str, what: str) -> tuple[Part, Part]:
    """Hold out classes; refuse a side without a positive pair before the training, not after it."""
    rest, held = hold_out(part, share, seed, option)
    for name, side in (("training part", rest), (what, held)):
        if len(side) and not queries(side).any():
            raise DataError(
                f"with {option}={share} no class of the {name} has two images: "
                "change the share, or have other classes drawn with --split.seed"
            )
    return rest, held


def _fingerprint(rows: Sequence[Row], sizes: Sequence[int], root: Path) -> str:
    """The fingerprint of paths, sizes, labels and roles. Pixels are left out: reading them all would take minutes."""
    digest = hashlib.sha256()
    for row, size in zip(rows, sizes, strict=True):
        place = row.path.relative_to(root) if row.path.is_relative_to(root) else row.path
        digest.update(f"{place}\t{size}\t{row.label}\t{row.role}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()[:8]
