"""Images of a gallery taken out, or given other labels, by what people call them: an id or a path."""

import csv
import io
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from crossbatch.errors import DataError
from crossbatch.index.rows import Rows
from crossbatch.index.writer import Change, Writer


def take_out(writer: Writer, names: Sequence[str]) -> int:
    """Remove images, their pictures and embeddings too; how many there were. All names must be known."""
    named = _Names(writer.rows())
    return writer.remove({one for name in names for one in named.ids(name)})


def relabel(writer: Writer, table: Path) -> int:
    """Give images the labels of a CSV file with id,label or path,label; an empty label takes one away."""
    rows = writer.rows()
    named, changes = _Names(rows), {}
    for name, label in _labels(table):
        for one in named.ids(name):
            row = rows.position[one]
            image = rows.image(row)
            if image.label != label:
                changes[one] = Change(image.path, label, *rows.place(row))
    if changes:
        writer.update(changes)
    return len(changes)


class _Names:
    """Images by id or path."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows
        self._paths: dict[str, list[str]] = defaultdict(list)
        for row, one in enumerate(rows.ids):
            self._paths[rows.image(row).path].append(one)

    def ids(self, name: str) -> list[str]:
        """The images of a name: one by its id, or all that are called so."""
        if name in self._rows.position:
            return [name]
        if name not in self._paths:
            raise DataError(f"the gallery has no image {name}: give an id or a path, as crossbatch search prints them")
        return self._paths[name]


def _labels(table: Path) -> list[tuple[str, str | None]]:
    try:
        reader = csv.DictReader(io.StringIO(table.read_text(encoding="utf-8-sig"), newline=""))
        key = next((name for name in ("id", "path") if name in (reader.fieldnames or [])), None)
        if key is None or "label" not in (reader.fieldnames or []):
            given = ",".join(reader.fieldnames or []) or "nothing"
            raise DataError(f"{table} must have the columns id,label or path,label; it has {given}")
        return [(row[key] or "", (row["label"] or "").strip() or None) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{table} cannot be read as a table of labels ({error})") from error
