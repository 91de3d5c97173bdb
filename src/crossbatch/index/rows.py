"""What a gallery holds, as of one revision: read once, never changed."""

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossbatch.data.image_files import as_label
from crossbatch.errors import DataError
from crossbatch.index.description import Description
from crossbatch.index.part_files import ALL_BUT_PICTURES, GROUP, PartFile, doors

FEWEST = 6  # signs of an id that stand for it
BEGINNING = re.compile(f"[0-9a-f]{{{FEWEST},31}}")


@dataclass(frozen=True)
class Image:
    """An image of the gallery, without its embedding."""

    id: str
    path: str
    label: str | None
    width: int
    height: int

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        return dict(self.__dict__)


class Rows:
    """Embeddings [images, dim] and the columns beside them, in the order in which they came."""

    def __init__(self, folder: Path, description: Description) -> None:
        arrow, _ = doors()
        self.description, self.parts = description, [PartFile(folder / name) for name in description.parts]
        self.starts = np.cumsum([0, *map(len, self.parts)])
        tables = [part.read(ALL_BUT_PICTURES) for part in self.parts]
        table = arrow.concat_tables(tables).combine_chunks() if tables else None
        self._columns = {} if table is None else {name: _whole(table.column(name)) for name in ALL_BUT_PICTURES}
        self.ids: list[str] = self._columns["id"].to_pylist() if self._columns else []
        dim = description.model.dim
        # By DLPack, since `to_numpy` imports pandas, which takes a second.
        self.embeddings: NDArray[Any] = np.empty((0, dim), np.float32)
        if self._columns:
            self.embeddings = np.from_dlpack(self._columns["embedding"].flatten()).reshape(-1, dim)
        coded = self._columns["label"].dictionary_encode("encode") if self._columns else None  # None has a code too
        names: list[str | None] = [] if coded is None else coded.dictionary.to_pylist()
        self.labels: list[str] = sorted(name for name in names if name is not None)
        rank = {name: number for number, name in enumerate(self.labels)}
        ranks = np.array([-1 if name is None else rank[name] for name in names], np.int64)
        codes = np.empty(0, np.int64) if coded is None else np.from_dlpack(coded.indices)
        self.label_of: NDArray[np.int64] = ranks[codes]  # position among the labels, −1 without one

    def __len__(self) -> int:
        return len(self.ids)

    @cached_property
    def position(self) -> dict[str, int]:
        """The row of each id."""
        return {one: row for row, one in enumerate(self.ids)}

    @cached_property
    def paths(self) -> list[str]:
        """What each image is called."""
        return self._columns["path"].to_pylist() if self._columns else []

    @cached_property
    def counts(self) -> dict[str, int]:
        """Images of each label, by name."""
        counted = Counter(self.label_of.tolist())
        return {label: counted[number] for number, label in enumerate(self.labels)}

    @cached_property
    def code(self) -> dict[str, int]:
        """The position of each label."""
        return {label: number for number, label in enumerate(self.labels)}

    def row(self, name: str) -> int:
        """The row of an id, or of the beginning of one if no other begins so; `DataError` if there is none."""
        if name in self.position:
            return self.position[name]
        if len(name) < FEWEST and any(one.startswith(name) for one in self.ids):
            raise DataError(f"an id may be shortened to {FEWEST} of its 32 signs, got {name}")
        found = []
        if BEGINNING.fullmatch(name):
            found = [row for row, one in enumerate(self.ids) if one.startswith(name)]
        if not found:
            raise DataError(f"the gallery has no image {name[:40]}")
        if len(found) > 1:
            raise DataError(f"several images begin with {name}")
        return found[0]

    @cached_property
    def roots(self) -> set[int]:
        """Numbers of the folders that an image lies in."""
        return set(self._columns["root"].unique().to_pylist()) if self._columns else set()

    def image(self, row: int) -> Image:
        """What is known of the image in a row."""
        path, width, height = (self._columns[name][row].as_py() for name in ("path", "width", "height"))
        return Image(self.ids[row], path, self.label(row), width, height)

    def label(self, row: int) -> str | None:
        """The label of a row."""
        code = self.label_of[row]
        return None if code < 0 else self.labels[code]

    def place(self, row: int) -> tuple[int, bytes | None]:
        """The number of the root that its file lies in, and its path below it."""
        root, file = (self._columns[name][row].as_py() for name in ("root", "file"))
        return root, file

    def labelled(self, labels: Sequence[str]) -> NDArray[np.bool_]:
        """Mask [images] of those with one of these labels."""
        return np.isin(self.label_of, [self.code[one] for one in self.spelt(labels)])

    def spelt(self, labels: Sequence[str]) -> list[str]:
        """These labels as the gallery spells them, without those that it does not have."""
        asked = dict.fromkeys(map(as_label, labels))
        return [one for label in asked for one in self._spellings.get(label, ())]

    @cached_property
    def _spellings(self) -> dict[str, list[str]]:
        found = defaultdict(list)
        for label in self.labels:
            found[as_label(label)].append(label)
        return found

    def thumbnails(self, part: int, group: int) -> list[bytes]:
        """The pictures of a row group of a part."""
        return self.parts[part].thumbnails(group)

    def group_of(self, row: int) -> tuple[int, int, int]:
        """Part, row group and number within it, of a row."""
        part = int(np.searchsorted(self.starts, row, side="right")) - 1
        return (part, *divmod(row - int(self.starts[part]), GROUP))


def _whole(column: Any) -> Any:
    """A column in one piece."""
    chunks = column.num_chunks
    return column.chunk(0) if chunks == 1 else doors()[0].concat_arrays(column.chunks)
