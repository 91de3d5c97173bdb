"""Removing and relabelling images of a gallery, which people name by id or path."""

import os
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from crossbatch.data.csv import labels_of, slashed
from crossbatch.errors import DataError
from crossbatch.index.rows import BEGINNING, Rows
from crossbatch.index.sources import Found
from crossbatch.index.writer import Change, Writer

ID = re.compile("[0-9a-f]{32}")
FITS = 5  # most images of a path that an error lists


def check(rows: Rows | None, remove: Sequence[str], table: Path | None, coming: Sequence[Found] = ()) -> None:
    """Refuse names of no image, before anything is written; `table`: the file of new labels.

    `coming`: images to be added first. Their ids are not known yet, so with them any whole id is accepted. A name in
    `remove` must be that of one image only, or of a folder.
    """
    named, new = _Names(rows), _new_names(coming)
    names = [_Name(name) for name in remove]
    relabelled = [name for name, _ in _labels(table)] if table else []
    for name, folders in [*((name, True) for name in names), *((name, False) for name in relabelled)]:
        if not name.count_in(new) and not (new and ID.fullmatch(name.text)):
            named.ids(name, folders=folders)
    for name in names:
        there, more = named.called(name), name.count_in(new)
        if len(there) + more > 1:
            to_come = f", {more} of them to come" if more else ""
            reason = f"{name.text} is the path of {len(there) + more} images{to_come}"
            fits = ", ".join(f"{id_} ({named.labels[id_] or 'no label'})" for id_ in there[:FITS])
            ways = f"give the id of one: {fits}" + (", …" if len(there) > FITS else "")
            raise DataError(f"{reason}: {ways if there else 'add them first, then take one out by its id'}")


def take_out(writer: Writer, names: Sequence[str]) -> int:
    """Remove images with their embeddings and thumbnails; return how many.

    Every name must fit an image, or a folder of images.
    """
    named = _Names(writer.rows())
    return writer.remove({id_ for name in names for id_ in named.ids(_Name(name), folders=True)})


def relabel(writer: Writer, table: Path) -> int:
    """Give images the labels of a table with columns id,label or path,label; return how many labels changed.

    A path is as the gallery shows it, or that of the file, from the root of the disk or from the folder of the table.
    An empty label removes the image's label. The last row for an image counts.
    """
    rows = writer.rows()
    named, changes = _Names(rows), {}
    for id_, label in {id_: label for name, label in _labels(table) for id_ in named.ids(name)}.items():
        row = rows.position[id_]
        image = rows.image(row)
        if image.label != label:
            changes[id_] = Change(image.path, label, *rows.place(row))
    if changes:
        writer.update(changes)
    return len(changes)


class _Name(NamedTuple):
    """What a person wrote for an image: an id or a path; `base`: the folder that the path may be relative to."""

    text: str
    base: Path = Path()

    @property
    def paths(self) -> tuple[str, str]:
        """The text as a path, as it is written and as Windows would read it."""
        return self.text, slashed(self.text)

    @property
    def files(self) -> list[Path]:
        """Files that the text may name."""
        return [_whole(self.base / path) for path in dict.fromkeys(self.paths) if "\0" not in path]

    def count_in(self, images: Mapping[str, int]) -> int:
        """How many of these images it names, which are counted by their paths."""
        if not images:
            return 0
        return next(filter(None, (images.get(name, 0) for name in (*self.paths, *map(str, self.files)))), 0)


def _whole(file: Path) -> Path:
    """The path of a file from the root of the disk, with links to folders followed."""
    return Path(os.path.realpath(file.parent)) / file.name


def _new_names(coming: Sequence[Found]) -> Counter[str]:
    """How many of the images to come have each path: as people see it, and from the root of the disk."""
    files = Counter(str(_whole(image.file)) for image in coming if image.file)
    return Counter(image.path for image in coming if image.path not in files) + files


class _Names:
    """Finds images by id or path."""

    def __init__(self, rows: Rows | None) -> None:
        self.labels: dict[str, str | None] = {}
        self._rows, self._paths = rows, defaultdict[str, list[str]](list)
        if rows is not None:
            self.labels = {id_: rows.label(row) for row, id_ in enumerate(rows.ids)}
            for id_, path in zip(rows.ids, rows.paths, strict=True):
                self._paths[path].append(id_)

    def ids(self, name: _Name, *, folders: bool = False) -> list[str]:
        """Ids of the images that a name fits: one by its id or the beginning of it, or all with this path.

        With `folders` also all images in a folder of this name.
        """
        text = name.text
        ids = [text] if text in self.labels else self.called(name)
        if not ids and BEGINNING.fullmatch(text):
            ids = [id_ for id_ in self.labels if id_.startswith(text)]
            if len(ids) > 1:
                raise DataError(f"the ids of {len(ids)} images begin with {text}: give more of it")
        if not ids and folders and self._rows is not None:
            ids = self._rows.below(text, name.files)
        if not ids:
            raise DataError(f"the gallery has no image {text}: give an id or a path, as crossbatch search prints them")
        return ids

    def called(self, name: _Name) -> list[str]:
        """Ids of the images with this path; if there is none, ids of the images of this file."""
        by_path = next(filter(None, map(self._paths.get, name.paths)), None)
        if by_path is not None or self._rows is None:
            return by_path or []
        return next(filter(None, map(self._rows.of_file, name.files)), [])


def _labels(table: Path) -> list[tuple[_Name, str | None]]:
    return [(_Name(text, table.parent), label) for text, label in labels_of(table)]
