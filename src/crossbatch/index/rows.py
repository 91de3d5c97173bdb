"""The rows of one revision of a gallery: read once, never changed."""

import os
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

FEWEST = 6  # characters of an id that may stand for the whole
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
        """The fields as a dictionary, for JSON."""
        return dict(self.__dict__)


class Rows:
    """Embeddings [images, dim] and the other columns of the table, in the order of indexing."""

    def __init__(self, folder: Path, description: Description) -> None:
        arrow, _ = doors()
        self.folder = folder
        self.description, self.parts = description, [PartFile(folder / name) for name in description.parts]
        self.starts = np.cumsum([0, *map(len, self.parts)])
        tables = [part.read(ALL_BUT_PICTURES) for part in self.parts]
        table = arrow.concat_tables(tables).combine_chunks() if tables else None
        self._columns = {} if table is None else {name: _whole(table.column(name)) for name in ALL_BUT_PICTURES}
        self.ids: list[str] = self._columns["id"].to_pylist() if self._columns else []
        dim = description.model.dim
        # By DLPack: `to_numpy` imports pandas, which takes a second.
        self.embeddings: NDArray[Any] = np.empty((0, dim), np.float32)
        if self._columns:
            self.embeddings = np.from_dlpack(self._columns["embedding"].flatten()).reshape(-1, dim)
        coded = self._columns["label"].dictionary_encode("encode") if self._columns else None  # None gets a code too
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
        return {id_: row for row, id_ in enumerate(self.ids)}

    @cached_property
    def paths(self) -> list[str]:
        """The path of each image, as shown to people."""
        return self._columns["path"].to_pylist() if self._columns else []

    @cached_property
    def counts(self) -> dict[str, int]:
        """The number of images with each label."""
        counted = Counter(self.label_of.tolist())
        return {label: counted[number] for number, label in enumerate(self.labels)}

    @cached_property
    def code(self) -> dict[str, int]:
        """The position of each label in `labels`."""
        return {label: number for number, label in enumerate(self.labels)}

    def row(self, name: str) -> int:
        """The row of an id, or of its beginning if that is unique and not too short; else `DataError`."""
        if name in self.position:
            return self.position[name]
        if len(name) < FEWEST and any(id_.startswith(name) for id_ in self.ids):
            raise DataError(f"an id may be shortened to {FEWEST} of its 32 characters, got {name}")
        matches = []
        if BEGINNING.fullmatch(name):
            matches = [row for row, id_ in enumerate(self.ids) if id_.startswith(name)]
        if not matches:
            raise DataError(f"the gallery has no image {name[:40]}")
        if len(matches) > 1:
            raise DataError(f"the ids of several images begin with {name}")
        return matches[0]

    @cached_property
    def roots(self) -> set[int]:
        """Numbers of the folders that hold at least one image."""
        return set(self._columns["root"].unique().to_pylist()) if self._columns else set()

    def image(self, row: int) -> Image:
        """The image of a row."""
        path, width, height = (self._columns[name][row].as_py() for name in ("path", "width", "height"))
        return Image(self.ids[row], path, self.label(row), width, height)

    def label(self, row: int) -> str | None:
        """The label of a row, None without one."""
        code = self.label_of[row]
        return None if code < 0 else self.labels[code]

    def place(self, row: int) -> tuple[int, bytes | None]:
        """The number of the folder of a row's file, and the path of the file below it."""
        root, file = (self._columns[name][row].as_py() for name in ("root", "file"))
        return root, file

    def of_file(self, file: Path) -> list[str]:
        """Ids of the images that were read from this file, named by its path from the root of the disk.

        The file may be gone, and the folder of its images may have moved since.
        """
        above = sorted((number, folder) for folder in file.parents for number in self._roots_at.get(folder, ()))
        places = [(number, os.fsencode(file.relative_to(folder))) for number, folder in above]
        return [id_ for place in places for id_ in self._of_place.get(place, ())]

    def below(self, folder: str, files: Sequence[Path]) -> list[str]:
        """Ids of the images in a folder: one named as the gallery shows paths, or by its path from the disk's root."""
        shown = f"{folder.rstrip('/')}/"
        parents = {file for file in files if file != file.parent}
        roots = [root.names(self.folder) for root in self.description.roots]
        found = []
        for row, (id_, path) in enumerate(zip(self.ids, self.paths, strict=True)):
            root, file = self.place(row)
            above = [name / os.fsdecode(file) for name in roots[root]] if root >= 0 and file is not None else []
            if path.startswith(shown) or any(not parents.isdisjoint(one.parents) for one in above):
                found.append(id_)
        return found

    @cached_property
    def _roots_at(self) -> dict[Path, list[int]]:
        """The numbers of the roots by each folder that they may be in."""
        numbers = defaultdict[Path, list[int]](list)
        for number, root in enumerate(self.description.roots):
            for folder in root.names(self.folder):
                numbers[folder].append(number)
        return numbers

    @cached_property
    def _of_place(self) -> dict[tuple[int, bytes | None], list[str]]:
        ids = defaultdict(list)
        for row, id_ in enumerate(self.ids):
            ids[self.place(row)].append(id_)
        return ids

    def unknown(self, labels: Sequence[str]) -> list[str]:
        """A sentence for each label that no image has; it names one that differs only in capitals."""
        told = []
        for unknown in (label for label in labels if not self.spelt([label])):
            alike = next((known for known in self.labels if known.casefold() == unknown.casefold()), None)
            told.append(f"no image has the label {unknown}" + (f": did you mean {alike}?" if alike else ""))
        return told

    def labelled(self, labels: Sequence[str]) -> NDArray[np.bool_]:
        """Mask [images] of the images with one of these labels."""
        return np.isin(self.label_of, [self.code[label] for label in self.spelt(labels)])

    def spelt(self, labels: Sequence[str]) -> list[str]:
        """These labels as the gallery spells them; labels that it does not have are left out."""
        wanted = dict.fromkeys(map(as_label, labels))
        return [spelling for label in wanted for spelling in self._spellings.get(label, ())]

    @cached_property
    def _spellings(self) -> dict[str, list[str]]:
        spellings = defaultdict(list)
        for label in self.labels:
            spellings[as_label(label)].append(label)
        return spellings

    def thumbnails(self, part: int, group: int) -> list[bytes]:
        """The thumbnails of a row group in one file of the table."""
        return self.parts[part].thumbnails(group)

    def group_of(self, row: int) -> tuple[int, int, int]:
        """Where a row lies: the number of its file, its row group, and its place within the group."""
        part = int(np.searchsorted(self.starts, row, side="right")) - 1
        return (part, *divmod(row - int(self.starts[part]), GROUP))


def _whole(column: Any) -> Any:
    """A column as one chunk."""
    chunks = column.num_chunks
    return column.chunk(0) if chunks == 1 else doors()[0].concat_arrays(column.chunks)
