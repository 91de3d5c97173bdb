"""Images to index, from folders, tables and data sets, each with its path and label."""

import os
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from crossbatch.data.data_set import DataSet, Images
from crossbatch.data.image_files import FileImages, as_label
from crossbatch.data.listing import Listed, label_below, listed, role_folders
from crossbatch.index.rows import Rows


@dataclass(frozen=True)
class Found:
    """An image to index: a `file` below a `root`, or image `number` of `images`; `path` is its name for people."""

    path: str
    label: str | None
    root: Path | None = None
    file: Path | None = None
    images: Images | None = None
    number: int = -1

    @property
    def folder(self) -> Path | None:
        """The folder that the place of a file is relative to: its root, or its own folder if it is not below that."""
        if self.file is None:
            return None
        below = self.root is not None and self.file.is_relative_to(self.root)
        return self.root if below else self.file.parent

    def leaves(self, real: Callable[[Path], str]) -> bool:
        """Whether links lead from the folder to a file outside it; `real`: `os.path.realpath`, cached for folders."""
        if self.file is None or self.folder is None:
            return False
        file = Path(real(self.file.parent)) / self.file.name
        target = Path(os.path.realpath(file)) if file.is_symlink() else file
        return not target.is_relative_to(real(self.folder))


def found_in(places: Sequence[Path], rows: Rows | None = None, folder: Path = Path()) -> tuple[list[Found], list[str]]:
    """The images of folders, tables and single files, in order; and notes on what was left out.

    `rows`: rows of the gallery in `folder`. An image below a folder of the gallery in which most labels are names of
    folders gets the path and label that it has when that folder is given. A label from a table takes precedence.
    """
    images, notes = listed(places, skip_missing=True)
    known = {} if rows is None else _labelled_folders(rows, folder)
    above = sorted(known, key=lambda one: len(one.parts))
    real = cache(os.path.realpath)
    return [_below(image, above, known, real) for image in images], notes


def _below(
    one: Listed, above: Sequence[Path], roles: Mapping[Path, frozenset[str]], real: Callable[[Path], str]
) -> Found:
    """An image, relative to the first of the folders `above` that holds it, else to the place that was given."""
    file = Path(real(one.path.parent)) / one.path.name
    root = next((folder for folder in above if file.is_relative_to(folder)), None)
    if root is None or root == Path(real(one.root)):
        return Found(one.name, one.label, one.root, one.path)
    label = one.label if one.labelled else label_below(file.relative_to(root).parts, roles[root])
    return Found(Listed(file, label, root).name, label, root, file)


def _labelled_folders(rows: Rows, gallery: Path) -> dict[Path, frozenset[str]]:
    """The folders of a gallery in which most labels are names of folders, each with its `role_folders`."""
    places: dict[int, list[tuple[tuple[str, ...], str | None]]] = defaultdict(list)
    for row in range(len(rows)):
        root, file = rows.place(row)
        if root >= 0 and file is not None:
            places[root].append((Path(os.fsdecode(file)).parts, rows.label(row)))
    labelled = {}
    for number, files in places.items():
        folder = rows.description.roots[number].now(gallery)
        roles = role_folders([parts for parts, _ in files])
        right = sum(label is not None and label == label_below(parts, roles) for parts, label in files)
        if folder is not None and 2 * right > len(files):
            labelled[Path(os.path.realpath(folder))] = roles
    return labelled


def found_in_data_set(loaded: DataSet) -> list[Found]:
    """Every image of a data set, once."""
    labels: dict[int, str] = {}
    for part in loaded.parts.values():
        for number, label in zip(part.ids.tolist(), part.labels.tolist(), strict=True):
            labels[number] = as_label(loaded.class_names[label])
    images = loaded.images
    if isinstance(images, FileImages):
        return [
            Found(images.name(number), label, images.root, Path(images.paths[number]))
            for number, label in sorted(labels.items())
        ]
    return [Found(images.name(number), label, images=images, number=number) for number, label in sorted(labels.items())]
