"""The files of a gallery's table: rows of images, in Parquet, each file written whole or not at all."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from crossbatch import durable
from crossbatch.data.parquet import parquet
from crossbatch.errors import DataError

GROUP = 256  # rows that are read to show one thumbnail
ALL_BUT_PICTURES = ["id", "root", "path", "file", "label", "width", "height", "embedding"]


class Entry(NamedTuple):
    """An image of the gallery but for its embedding.

    `id`: the digest of its content. `path`: what to call it. `root`, `file`: where its file is, by the number of the
    root and below it; −1 and nothing for an image that was in memory only. `width`, `height`: of the upright image.
    `thumbnail`: a JPEG or PNG file.
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
    """Entries and their unit rows [images, dim] as an Arrow table."""
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
    columns = {name: arrow.array([getattr(one, name) for one in entries], kind) for name, kind in types.items()}
    flat = arrow.array(np.ascontiguousarray(embeddings, dtype=np.float32).ravel())
    columns["embedding"] = arrow.FixedSizeListArray.from_arrays(flat, dim)
    columns["model"] = arrow.array([model] * len(entries)).dictionary_encode()
    return arrow.table(columns)


def write_whole(path: Path, table: Any) -> None:
    """Write a file under another name, have it on the disk, and only then give it its name."""
    _, files = doors()
    # Pictures are compressed already, and embeddings do not get smaller.
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
    """A file of a gallery that is not there: a writer has put another in its place, or it is lost."""


class PartFile:
    """One file, kept open: it can still be read when the writer has put another in its place."""

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
        """The pictures of a row group."""
        found: list[bytes] = self._read(lambda: self.file.read_row_group(group, ["thumbnail"]).column(0).to_pylist())
        return found

    def _read(self, read: Callable[[], Any]) -> Any:
        arrow, _ = doors()
        try:
            return read()
        except (arrow.ArrowException, OSError) as error:
            raise DataError(_damaged(self.path, str(error))) from error


def _damaged(path: Path, why: str) -> str:
    told = f"{path} is damaged ({(why.splitlines() or ['unreadable'])[0]})"
    return f"{told}: bring it back from a copy, or index the images anew"
