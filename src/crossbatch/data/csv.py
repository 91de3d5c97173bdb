"""A user's own images: a table with the columns path, label and, if its rows are divided already, role."""

import codecs
import csv
import io
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from textwrap import shorten
from typing import Any

from crossbatch.data.data_set import DataSet
from crossbatch.data.folder import ROLE_OF
from crossbatch.data.image_files import as_label
from crossbatch.data.labelled_files import GALLERY, QUERY, TEST, TRAIN, Row, build
from crossbatch.data.parquet import parquet
from crossbatch.data.roots import wrong_root
from crossbatch.data.split import Split
from crossbatch.errors import DataError
from crossbatch.harmless import shown

SEPARATORS = ",;\t"
ALSO = {  # names that stand for a column, if the table lacks the column's own name
    "path": ("file_name", "filename", "image_path", "image"),
    "label": ("class", "class_name", "category"),
}
PARTS = "split"  # a column of this name is read as role, if the table has no role and all its values are roles
MARKS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}


def load(root: Path | None, split: Split | None = None) -> DataSet:
    """Read `path,label[,role]` rows of a CSV, TSV, Parquet or JSON Lines file; paths are relative to it.

    A role is train, val, test, query or gallery. Without a column role, a column split is read as role if all its
    values are roles. The separator is a comma, semicolon or tab, whichever the header has most of. Names of columns may
    have capitals, and blanks around them. Text is UTF-8, or UTF-16 with a byte order mark. Labels are kept as text.
    """
    if root is None or not root.is_file():
        raise wrong_root("csv", root, "a .csv, .tsv, .parquet or .jsonl file with path,label[,role]")
    rows, unread = _read(root)
    roles = {row.role for row in rows}
    if {TEST, QUERY} <= roles:
        raise DataError(f"{root} has rows of both test and query: keep the role that is the test part")
    if GALLERY in roles and not roles & {QUERY, TEST}:
        raise DataError(f"{root} has gallery rows and no query rows: mark the images that are searched for as query")
    note = f"columns not read: {', '.join(sorted(unread))}; a column named role would give the part of each row"
    return build("csv", root.parent, rows, split or Split(), [note] if unread else [])


def rows_of(root: Path, *, skip_missing: bool = False) -> tuple[list[Row], list[str]]:
    """Read the rows of a table, at least one, and notes, one sentence each. A row without a label has the label "".

    `skip_missing` leaves out rows whose file does not exist, and notes how many they are.
    """
    rows, _ = _read(root, skip_missing=skip_missing, labelled=False)
    existing = [row for row in rows if not skip_missing or _is_file(row.path)]
    if len(existing) == len(rows):
        return rows, []
    first = shown(next(row.path for row in rows if not _is_file(row.path)))
    return existing, [f"{len(rows) - len(existing):,} of the {len(rows):,} images of {root} are not there, as {first}"]


def labels_of(root: Path) -> list[tuple[str, str | None]]:
    """Read a table of new labels: the id or path of each image as it is written, and its label.

    An empty label, and null in Parquet and JSON Lines, is None; a line of text that ends before its label is refused.
    """
    has_null = root.suffix.lower() in (".parquet", ".jsonl")
    named = []
    for place, record in _records(root, ("id or path", "label")):
        name, label = (record["id" if "id" in record else "path"] or "").strip(), record["label"]
        if not name or (label is None and not has_null):
            problem = f"{root}, {place} needs an id or a path, and a label"
            raise DataError(f"{problem}: to remove the label of an image, leave it empty after the separator")
        named.append((name, as_label((label or "").strip()) or None))
    return named


def _read(root: Path, *, skip_missing: bool = False, labelled: bool = True) -> tuple[list[Row], set[str]]:
    """Read the rows of a table, and the names of the columns not read; refuse a row whose file does not exist.

    With `skip_missing` such rows are refused only if no file exists.
    """
    needed = ("path", "label") if labelled else ("path",)
    records = list(_records(root, needed))
    role = _role_column([record for _, record in records])
    rows = [_row(root, place, record, needed, role) for place, record in records]
    if not rows:
        raise DataError(f"no images in {root}: it has a header and no rows")
    missing = [row for row in rows if not _is_file(row.path)]
    if missing and not (skip_missing and len(missing) < len(rows)):
        others = f", nor {len(missing) - 1:,} more of {len(rows):,}" if len(missing) > 1 else ""
        place = missing[0].place.partition(" (")[0]
        raise DataError(f"{root}, {place}: there is no image {shorten(shown(missing[0].path), 300)}{others}")
    return rows, {name for _, record in records for name in record} - {"path", "label", role, ""}


def _role_column(records: Sequence[Mapping[str, Any]]) -> str:
    """The column that gives the role: `PARTS` if there is no role and all its values are roles."""
    if any("role" in record for record in records):
        return "role"
    return PARTS if all((record.get(PARTS) or "").strip().lower() in ROLE_OF for record in records) else "role"


def _records(root: Path, needed: Sequence[str]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the place of each row, such as `line 7`, and its values by column name."""
    if root.suffix.lower() == ".parquet":
        yield from _parquet(root, needed)
        return
    if root.suffix.lower() == ".jsonl":
        yield from _json_lines(root, needed)
        return
    try:
        text = _text(root)
        header = re.split("[\r\n]", text, maxsplit=1)[0]
        lines = io.StringIO(text, newline="")
        reader = csv.DictReader(lines, delimiter=max(SEPARATORS, key=header.count), skipinitialspace=True)
        reader.fieldnames = _columns(root, reader.fieldnames or [], needed)
        for record in reader:
            if any(record.pop(None, None) or ()):  # fields beyond the header's last column
                problem = f"{root}, line {reader.line_num} has more fields than the header"
                raise DataError(f"{problem}: put a label that holds {reader.reader.dialect.delimiter!r} into quotes")
            yield f"line {reader.line_num}", record
    except csv.Error as error:
        raise DataError(f"{root} cannot be read as a table ({error}): is a quote not closed?") from error


def _json_lines(root: Path, needed: Sequence[str]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Read one object per line, as in the metadata.jsonl of Hugging Face's image folders."""
    for number, line in enumerate(_text(root).split("\n"), 1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except ValueError as error:
            raise DataError(f"{root}, line {number} is not JSON ({error}): write one object a line") from error
        if not isinstance(record, dict):
            raise DataError(f'{root}, line {number} is not an object, as {{"path": "a.jpg", "label": "apple"}}')
        yield f"line {number}", _as_text(_columns(root, list(record), needed), record.values())


def _as_text(names: Sequence[str], values: Iterable[Any]) -> dict[str, str | None]:
    return {name: None if value is None else str(value) for name, value in zip(names, values, strict=True)}


def _text(root: Path) -> str:
    try:
        content = root.read_bytes()
        encoding = next((name for mark, name in MARKS.items() if content.startswith(mark)), "utf-8")
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        raise DataError(f"{root} is not UTF-8 text ({error.reason} at byte {error.start}); save it as UTF-8") from error
    except OSError as error:
        raise DataError(f"{root} cannot be read ({error.strerror})") from error


def _columns(root: Path, names: Sequence[str], needed: Sequence[str]) -> list[str]:
    """Column names in lower case, without blanks around them and with `ALSO` replaced; refuse a missing column."""
    columns = [name.strip().lower() for name in names]
    repeated = next((column for column in columns if column and columns.count(column) > 1), None)
    if repeated:
        raise DataError(f"{root} has several columns {repeated} (blanks and capitals aside): keep one of them")
    for column, others in ALSO.items():
        alias = next((other for other in others if other in columns), None)
        if alias and column not in columns:
            columns[columns.index(alias)] = column
    missing = [column for column in needed if not set(column.split(" or ")) & set(columns)]
    if missing:
        fits = " and ".join(
            f"{column} (or {', '.join(ALSO[column])})" if column in ALSO else column for column in needed
        )
        raise DataError(
            f"{root} has no column {' and no column '.join(missing)}: "
            f"its header is {','.join(names) or 'empty'}, it must name {fits}"
        )
    return columns


def _parquet(root: Path, needed: Sequence[str]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    arrow, files = parquet("a .parquet table")
    try:
        table = files.read_table(root)
    except (arrow.ArrowException, OSError) as error:
        raise DataError(f"{root} cannot be read as Parquet ({str(error).splitlines()[0]})") from error
    flat = [field.name for field in table.schema if not arrow.types.is_nested(field.type)]
    table = table.select(flat)  # a nested column may hold an image itself, which is no path
    table = table.rename_columns(_columns(root, table.column_names, needed))
    for number, record in enumerate(table.select([name for name in table.column_names if name]).to_pylist()):
        yield f"row {number}", _as_text(list(record), record.values())


def _row(root: Path, place: str, record: Mapping[str, Any], needed: Sequence[str], role_column: str) -> Row:
    path, label = ((record.get(column) or "").strip() for column in ("path", "label"))
    role = (record.get(role_column) or TRAIN).strip().lower()
    if not path or ("label" in needed and not label):
        received = f"got {shorten(path, 100)!r} and {shorten(label, 100)!r}"
        hint = "; is a quote not closed?" if "\n" in path + label else ""
        raise DataError(f"{root}, {place}: a row needs a {' and a '.join(needed)}, {received}{hint}")
    if role not in ROLE_OF:
        raise DataError(f"{root}, {place}: the role must be one of {', '.join(ROLE_OF)}, got {role!r}")
    file = root.parent / path
    if not _is_file(file) and "\\" in path:
        file = root.parent / slashed(path)
    return Row(file, as_label(label), ROLE_OF[role], f"{place} ({shown(path)})")


def slashed(path: str) -> str:
    """A path of Windows with slashes in place of backslashes."""
    return re.sub(r"\\+", "/", path)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # the name is too long, or has a zero byte in it
        return False
