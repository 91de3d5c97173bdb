"""A user's own images: a table (CSV, or TSV) with the columns path, label and, if there is a test part, role."""

import csv
from pathlib import Path

from crossbatch.data.data_set import DataSet
from crossbatch.data.folder import QUERY, ROLES, TRAIN, build
from crossbatch.data.split import Split
from crossbatch.errors import DataError


def load(root: Path | None, split: Split | None = None) -> DataSet:
    """Read `path,label[,role]` rows; paths are relative to the CSV, a role is train, query or gallery."""
    if root is None or not root.is_file():
        raise DataError(f"--data csv needs ROOT, a .csv or .tsv file with the columns path,label[,role]; got {root}")
    rows = _read(root)
    if not rows:
        raise DataError(f"no images in {root}: it has a header and no rows")
    if any(role != TRAIN for _, _, role in rows) and not any(role == QUERY for _, _, role in rows):
        raise DataError(f"{root} has gallery rows and no query rows: mark the images that are searched for as query")
    return build("csv", root.parent, rows, split or Split())


def _read(root: Path) -> list[tuple[Path, str, str]]:
    try:
        with root.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, delimiter="\t" if root.suffix.lower() == ".tsv" else ",")
            columns = reader.fieldnames or []
            missing = [column for column in ("path", "label") if column not in columns]
            if missing:
                raise DataError(
                    f"{root} has no column {' and no column '.join(missing)}: "
                    f"its header is {','.join(columns) or 'empty'}, it must name path and label"
                )
            return [_row(root, reader.line_num, record) for record in reader]
    except UnicodeDecodeError as error:
        raise DataError(f"{root} is not UTF-8 text ({error.reason} at byte {error.start}); save it as UTF-8") from error
    except csv.Error as error:
        raise DataError(f"{root} cannot be read as a CSV ({error}): is a quote not closed?") from error
    except OSError as error:
        raise DataError(f"{root} cannot be read ({error.strerror})") from error


def _row(root: Path, line: int, record: dict[str, str | None]) -> tuple[Path, str, str]:
    path, label, role = record["path"], record["label"], record.get("role") or TRAIN
    if not path or not label:
        raise DataError(f"{root}, line {line}: a row needs a path and a label, got {path!r} and {label!r}")
    if role not in ROLES:
        raise DataError(f"{root}, line {line}: the role must be train, query or gallery, got {role!r}")
    if not (root.parent / path).is_file():
        raise DataError(f"{root}, line {line}: there is no image {root.parent / path}")
    return root.parent / path, label, role
