"""The Parquet files of a gallery's table, each written whole or not at all."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from crossbatch import durable
from crossbatch.data.parquet import parquet
from crossbatch.errors import DataError

GROUP = 256  # rows of a row group, which is read whole to show one thumbnail
ALL_BUT_PICTURES = ["id", "root", "path", "file", "label", "width", "height", "embedding"]


class Entry(NamedTuple):
    """The columns of an image's row, without its embedding.

    `id`: digest of the image's content. `path`: its name for people. `width`, `height`: of the upright image.
    `thumbnail`: a JPEG or PNG file. `root`: number of the folder that holds the file, −1 for an image without a file.
    `file`: path of the file below that folder, None without a file.
    """

    id: str
    path: str
    label: str | None
    width: int
    height: int
    thumbnail: bytes
    root: int = -1
    file: bytes | None = None


def doors() -> tuple[Any, Any]:
    """The packages pyarrow and pyarrow.parquet."""
    return parquet("a gallery", "index")


def table_of(entries: Sequence[Entry], embeddings: NDArray[np.float32], model: str) -> Any:
    """Entries and their embeddings [images, dim], of length 1, as an Arrow table."""
    arrow, _ = doors()
    dim = embeddings.shape[1]
    types = {
        "id": arrow.string(),
        "path": arrow.string(),
        "label": arrow.string(),
        "width": arrow.int32(),
        "height": arrow.int32(),
        "thumbnail": arrow.binary(),
        "root": arrow.int32(),
        "file": arrow.binary(),
    }
    columns = {name: arrow.array([getattr(entry, name) for entry in entries], kind) for name, kind in types.items()}
    flat = arrow.array(np.ascontiguousarray(embeddings, dtype=np.float32).ravel())
    columns["embedding"] = arrow.FixedSizeListArray.from_arrays(flat, dim)
    columns["model"] = arrow.array([model] * len(entries)).dictionary_encode()
    return arrow.table(columns)


def write_whole(path: Path, table: Any) -> None:
    """Write a table to a Parquet file: under a temporary name, flushed to disk, then renamed."""
    _, files = doors()
    # Thumbnails are compressed already, and embeddings do not compress.
    packed = {name: "NONE" if name in ("thumbnail", "embedding") else "ZSTD" for name in table.column_names}
    with durable.whole(path) as file:
        files.write_table(
            table,
            file,
            row_group_size=GROUP,
            compression=packed,
            use_dictionary=[name for name in ("label", "model") if name in table.column_names],
            write_statistics=False,
        )


class LostFileError(DataError):
    """A file of a gallery that does not exist: a writer has replaced it, or it is lost."""


class PartFile:
    """One file, kept open: it can be read even after a writer has replaced it."""

    def __init__(self, path: Path) -> None:
        arrow, files = doors()
        try:
            self.file = files.ParquetFile(path, memory_map=True)
        except FileNotFoundError:
            raise LostFileError(_damaged(path, "it is missing")) from None
        except (arrow.ArrowException, OSError) as error:
            raise DataError(_damaged(path, str(error))) from error
        self.path = path

    def __len__(self) -> int:
        return int(self.file.metadata.num_rows)

    def read(self, columns: Sequence[str] | None = None) -> Any:
        """Columns of all rows, as an Arrow table."""
        return self._read(lambda: self.file.read(columns=columns))

    def thumbnails(self, group: int) -> list[bytes]:
        """The thumbnails of a row group."""
        pictures: list[bytes] = self._read(lambda: self.file.read_row_group(group, ["thumbnail"]).column(0).to_pylist())
        return pictures

    def _read(self, read: Callable[[], Any]) -> Any:
        arrow, _ = doors()
        try:
            return read()
        except (arrow.ArrowException, OSError) as error:
            raise DataError(_damaged(self.path, str(error))) from error


def _damaged(path: Path, why: str) -> str:
    problem = f"{path} is damaged ({(why.splitlines() or ['unreadable'])[0]})"
    return f"{problem}: bring it back from a copy, or index the images anew"
