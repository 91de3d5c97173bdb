"""Removing and relabelling images of a gallery, which people name by id or path."""

import csv
import io
import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from crossbatch.data.image_files import as_label
from crossbatch.errors import DataError
from crossbatch.index.rows import BEGINNING, Rows
from crossbatch.index.sources import Found
from crossbatch.index.writer import Change, Writer

ID = re.compile("[0-9a-f]{32}")
FITS = 5  # most images of a path that an error lists


def check(rows: Rows | None, remove: Sequence[str], table: Path | None, coming: Sequence[Found] = ()) -> None:
    """Refuse names of no image, before anything is written; `table`: the file of new labels.

    `coming`: images to be added first. Their ids are not known yet, so with them any whole id is accepted. A name in
    `remove` must be that of one image only.
    """
    named, paths = _Names(rows), {image.path for image in coming}
    for name in [*remove, *(name for name, _ in (_labels(table) if table else []))]:
        if name not in paths and not (paths and ID.fullmatch(name)):
            named.ids(name)
    for name in remove:
        there, more = named.called(name), sum(image.path == name for image in coming)
        if len(there) + more > 1:
            reason = f"{name} is the path of {len(there) + more} images" + (f", {more} of them to come" if more else "")
            fits = ", ".join(f"{id_} ({named.labels[id_] or 'no label'})" for id_ in there[:FITS])
            ways = f"give the id of one: {fits}" + (", …" if len(there) > FITS else "")
            raise DataError(f"{reason}: {ways if there else 'add them first, then take one out by its id'}")


def take_out(writer: Writer, names: Sequence[str]) -> int:
    """Remove images with their embeddings and thumbnails; return how many. Every name must fit an image."""
    named = _Names(writer.rows())
    return writer.remove({id_ for name in names for id_ in named.ids(name)})


def relabel(writer: Writer, table: Path) -> int:
    """Give images the labels of a CSV file with columns id,label or path,label; return how many labels changed.

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


class _Names:
    """Finds images by id or path."""

    def __init__(self, rows: Rows | None) -> None:
        self.labels: dict[str, str | None] = {}
        self._paths = defaultdict[str, list[str]](list)
        if rows is not None:
            self.labels = {id_: rows.label(row) for row, id_ in enumerate(rows.ids)}
            for id_, path in zip(rows.ids, rows.paths, strict=True):
                self._paths[path].append(id_)

    def ids(self, name: str) -> list[str]:
        """Ids of the images that a name fits: one by its id or the beginning of it, or all with this path."""
        ids = [name] if name in self.labels else self.called(name)
        if not ids and BEGINNING.fullmatch(name):
            ids = [id_ for id_ in self.labels if id_.startswith(name)]
            if len(ids) > 1:
                raise DataError(f"the ids of {len(ids)} images begin with {name}: give more of it")
        if not ids:
            raise DataError(f"the gallery has no image {name}: give an id or a path, as crossbatch search prints them")
        return ids

    def called(self, path: str) -> list[str]:
        """Ids of the images with this path."""
        return self._paths.get(path, [])


def _named(table: Path, line: int, row: dict[str | Any, str | Any], key: str) -> tuple[str, str | None]:
    if None in row or row[key] is None or row["label"] is None:  # how csv.DictReader marks too many and too few fields
        problem = f"line {line} of {table} has more or fewer fields than its first line"
        raise DataError(f"{problem}: put a field that holds a comma in quotes, and leave a label empty to remove it")
    return row[key], as_label(row["label"].strip()) or None


def _labels(table: Path) -> list[tuple[str, str | None]]:
    try:
        reader = csv.DictReader(io.StringIO(table.read_text(encoding="utf-8-sig"), newline=""))
        key = next((name for name in ("id", "path") if name in (reader.fieldnames or [])), None)
        if key is None or "label" not in (reader.fieldnames or []):
            columns = ",".join(reader.fieldnames or []) or "nothing"
            raise DataError(f"{table} must have the columns id,label or path,label; it has {columns}")
        return [_named(table, reader.line_num, row, key) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{table} cannot be read as a table of labels ({error})") from error
