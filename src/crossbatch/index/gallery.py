"""A gallery: images with their embeddings, to be searched."""

import os
import threading
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from crossbatch.errors import DataError, SettingError, ShapeError
from crossbatch.index import description as descriptions
from crossbatch.index import pictures
from crossbatch.index.description import Description
from crossbatch.index.link import Link
from crossbatch.index.milvus import is_server
from crossbatch.index.part_files import LostFileError
from crossbatch.index.pictures import Picture
from crossbatch.index.projection import Point, read_map
from crossbatch.index.rows import Image, Rows
from crossbatch.index.search import exactly, nearest
from crossbatch.index.thumbnails import media_type

GROUPS = 16  # row groups of thumbnails that are kept: 256 pictures each
TRIES = 5  # at reading what a writer changes meanwhile
MODEL = "model"  # the folder of a gallery that its model lies in
BY = ("auto", "exact", "milvus")
UNIT = 1e-5  # by which the length of a unit row may be off: such a query is searched with as it is
TABLE, MEANWHILE = "the table", "the table, until the database is in step"  # who answers


class Hit(NamedTuple):
    """An image that was found, and its cosine to the query."""

    image: Image
    similarity: float


class Method(NamedTuple):
    """How a search is answered: `exact`, each row compared, or `hnsw`; by whom; its recall@10, if it was measured."""

    name: str
    by: str
    recall_at_10: float | None


class Gallery:
    """A gallery as of now, to read; `refresh` follows what a writer does to it."""

    def __init__(self, folder: str | os.PathLike[str], options: dict[str, Any] | None = None, by: str = "auto") -> None:
        if by not in BY:
            raise SettingError(f"by is {', '.join(BY)}, got {by!r}")
        self.folder, self._by = Path(folder), by
        self._link = Link(self.folder, options or {})
        self._lock, self._groups = threading.Lock(), OrderedDict[tuple[str, str, int], list[bytes]]()
        self.rows = self._read()

    @property
    def title(self) -> str:
        """What pages call it: RUN, where it is RUN/gallery."""
        place = self.folder.resolve()
        return place.parent.name if place.name == "gallery" else place.name

    @property
    def description(self) -> Description:
        """What is known of it."""
        return self.rows.description

    def __len__(self) -> int:
        return len(self.rows)

    def refresh(self) -> bool:
        """Read anew what has changed on the disk; whether anything has."""
        now = descriptions.read(self.folder)
        if (now.revision, now.database) == (self.description.revision, self.description.database):
            return False
        self.rows = self._read()
        return True

    def _read(self) -> Rows:
        for _ in range(TRIES - 1):
            try:
                return Rows(self.folder, descriptions.read(self.folder))
            except LostFileError:  # a writer has put another file in its place since
                continue
        return Rows(self.folder, descriptions.read(self.folder))

    @property
    def method(self) -> Method:
        """How it is searched now."""
        return self.method_for(self.rows)

    def method_for(self, rows: Rows) -> Method:
        """How these rows are searched: by the database of a server that is in step, else by each row in memory.

        Milvus Lite walks over its rows in Python: with HNSW too it took ten times as long as comparing each row, at any
        size that was measured (benchmarks/gallery.py).
        """
        database = rows.description.database
        if self._by == "exact" or (self._by == "auto" and not is_server(database.uri)):
            return Method("exact", TABLE, 1.0)
        if database.revision != rows.description.revision:
            return Method("exact", MEANWHILE, 1.0)
        by = f"Milvus at {database.uri}" if is_server(database.uri) else "Milvus Lite"
        return Method("exact" if database.kind == "FLAT" else "hnsw", by, database.recall_at_10)

    def search(
        self,
        queries: NDArray[np.float32],
        top: int,
        labels: Sequence[str] | None = None,
        *,
        min_similarity: float = -1.0,
        without: Sequence[str | None] = (),
        rows: Rows | None = None,
    ) -> list[list[Hit]]:
        """The images most similar to each query [queries, dim], of any length but 0, the most similar first.

        `labels`: only images with one of these. `without`: for each query an id that is left out. `rows`: what the
        gallery held when the queries were taken from it.
        """
        rows = rows or self.rows
        queries = _unit(queries, rows.embeddings.shape[1])
        _refuse(top, labels, without, len(queries))
        more = top + bool(without)
        labels = None if labels is None else rows.spelt(labels)
        if not len(rows) or labels == []:
            found: list[list[tuple[int, float]]] = [[] for _ in queries]
        elif self.method_for(rows).by in (TABLE, MEANWHILE):
            found = nearest(queries, rows.embeddings, more, None if labels is None else rows.labelled(labels))
        else:
            asked = self._link.search(rows.description, queries, min(more, len(rows)), labels)
            found = []
            for query, hits in zip(queries, asked, strict=True):
                places = sorted(rows.position[one] for one, _ in hits if one in rows.position)
                found.append(exactly(query, rows.embeddings, np.array(places, np.int64), more))
        left_out = [rows.position.get(one or "") for one in without] or [None] * len(queries)
        return [
            # Rounded before they are compared: a similarity that was told finds its image again.
            [
                Hit(rows.image(row), round(similarity, 6))
                for row, similarity in hits
                if row != left and round(similarity, 6) >= min_similarity
            ][:top]
            for hits, left in zip(found, left_out, strict=True)
        ]

    def thumbnail(self, row: int, rows: Rows | None = None) -> bytes:
        """The small picture of a row."""
        rows = rows or self.rows
        part, group, number = rows.group_of(row)
        key = (rows.description.name, rows.description.parts[part], group)
        with self._lock:
            if key in self._groups:
                self._groups.move_to_end(key)
            else:
                self._groups[key] = rows.thumbnails(part, group)
                while len(self._groups) > GROUPS:
                    self._groups.popitem(last=False)
            return self._groups[key][number] or b""

    def picture(self, row: int, rows: Rows | None = None) -> Picture:
        """The image of a row as it may be shown: its file if that is still there, else its thumbnail."""
        rows = rows or self.rows
        content = self.content(row, rows)
        shown = None if content is None else pictures.to_show(content)
        small = self.thumbnail(row, rows)
        return shown or Picture(small, media_type(small), "thumbnail")

    def content(self, row: int, rows: Rows | None = None) -> bytes | None:
        """The bytes of the file of a row, if it is still there and has not changed."""
        rows = rows or self.rows
        root, file = rows.place(row)
        if not 0 <= root < len(rows.description.roots) or file is None or b"\0" in file:
            return None
        return pictures.original(self.folder, rows.description.roots[root], file, rows.ids[row])

    def map(self, rows: Rows | None = None) -> dict[str, Point]:
        """The place of each image in the plane, by id."""
        return read_map(self.folder, (rows or self.rows).description.map)

    @property
    def notes(self) -> list[str]:
        """What a person should know: folders that are gone."""
        roots = [root for number, root in enumerate(self.description.roots) if number in self.rows.roots]
        gone = [root.absolute for root in roots if not root.places(self.folder)]
        return [f"the folder {one} is gone: of its images the small pictures are shown" for one in gone]

    def close(self) -> None:
        """Leave the database."""
        self._link.close()


def _unit(queries: NDArray[np.float32], dim: int) -> NDArray[np.float32]:
    """Unit queries [queries, dim]; those of length 1 as they are."""
    if queries.ndim != 2 or queries.shape[1] != dim:
        told = f"queries of shape {list(queries.shape)} do not fit embeddings of {dim} numbers"
        raise ShapeError(f"{told}: embed them with the gallery's model")
    lengths = np.linalg.norm(queries, axis=1, keepdims=True)
    if not (np.isfinite(lengths) & (lengths > 0)).all():
        raise DataError("a query is zero or not finite, so it has no cosine: embed it anew")
    found: NDArray[np.float32] = np.where(np.abs(lengths - 1) > UNIT, queries / lengths, queries).astype(np.float32)
    return found


def _refuse(top: int, labels: Sequence[str] | None, without: Sequence[str | None], queries: int) -> None:
    """Refuse what a search cannot mean."""
    if top < 1:
        raise SettingError(f"a search gives at least 1 image, got {top}")
    if isinstance(labels, str):
        raise SettingError(f"labels are a list, got {labels!r}: [{labels!r}]")
    if len(without) not in (0, queries):
        raise ShapeError(f"{queries} queries need as many ids in without, or none, got {len(without)}")
