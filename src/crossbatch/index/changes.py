"""Images of a gallery taken out, or given other labels, by what people call them: an id or a path."""

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
FITS = 5  # images of a path that are named


def check(rows: Rows | None, remove: Sequence[str], table: Path | None, coming: Sequence[Found] = ()) -> None:
    """Refuse names that are of no image, of a gallery or of those to come, before anything is written.

    An id may be that of an image to come: these are not read yet. What is to be removed is one image.
    """
    named, paths = _Names(rows), {one.path for one in coming}
    for name in [*remove, *(name for name, _ in (_labels(table) if table else []))]:
        if name not in paths and not (paths and ID.fullmatch(name)):
            named.ids(name)
    for name in remove:
        there, more = named.called(name), sum(one.path == name for one in coming)
        if len(there) + more > 1:
            told = f"{name} is the path of {len(there) + more} images" + (f", {more} of them to come" if more else "")
            fits = ", ".join(f"{one} ({named.labels[one] or 'no label'})" for one in there[:FITS])
            ways = f"give the id of one: {fits}" + (", …" if len(there) > FITS else "")
            raise DataError(f"{told}: {ways if there else 'add them first, then take one out by its id'}")


def take_out(writer: Writer, names: Sequence[str]) -> int:
    """Remove images, their pictures and embeddings too; how many there were. All names must be known."""
    named = _Names(writer.rows())
    return writer.remove({one for name in names for one in named.ids(name)})


def relabel(writer: Writer, table: Path) -> int:
    """Give images the labels of a CSV file with id,label or path,label; an empty label takes one away.

    Of several rows for an image the last counts.
    """
    rows = writer.rows()
    named, changes = _Names(rows), {}
    for one, label in {one: label for name, label in _labels(table) for one in named.ids(name)}.items():
        row = rows.position[one]
        image = rows.image(row)
        if image.label != label:
            changes[one] = Change(image.path, label, *rows.place(row))
    if changes:
        writer.update(changes)
    return len(changes)


class _Names:
    """Images by id or path."""

    def __init__(self, rows: Rows | None) -> None:
        self.labels: dict[str, str | None] = {}
        self._paths = defaultdict[str, list[str]](list)
        if rows is not None:
            self.labels = {one: rows.label(row) for row, one in enumerate(rows.ids)}
            for one, path in zip(rows.ids, rows.paths, strict=True):
                self._paths[path].append(one)

    def ids(self, name: str) -> list[str]:
        """The images of a name: one by its id or the beginning of it, or all that are called so."""
        found = [name] if name in self.labels else self.called(name)
        if not found and BEGINNING.fullmatch(name):
            found = [one for one in self.labels if one.startswith(name)]
            if len(found) > 1:
                raise DataError(f"the ids of {len(found)} images begin with {name}: give more of it")
        if not found:
            raise DataError(f"the gallery has no image {name}: give an id or a path, as crossbatch search prints them")
        return found

    def called(self, path: str) -> list[str]:
        """The images of a path."""
        return self._paths.get(path, [])


def _named(table: Path, line: int, row: dict[str | Any, str | Any], key: str) -> tuple[str, str | None]:
    if None in row or row[key] is None or row["label"] is None:  # how the reader tells of fields too many, and too few
        told = f"line {line} of {table} has more or fewer fields than its first line"
        raise DataError(f"{told}: one with a comma goes into quotes, and a label that is to be taken away is empty")
    return row[key], as_label(row["label"].strip()) or None


def _labels(table: Path) -> list[tuple[str, str | None]]:
    try:
        reader = csv.DictReader(io.StringIO(table.read_text(encoding="utf-8-sig"), newline=""))
        key = next((name for name in ("id", "path") if name in (reader.fieldnames or [])), None)
        if key is None or "label" not in (reader.fieldnames or []):
            given = ",".join(reader.fieldnames or []) or "nothing"
            raise DataError(f"{table} must have the columns id,label or path,label; it has {given}")
        return [_named(table, reader.line_num, row, key) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{table} cannot be read as a table of labels ({error})") from error
