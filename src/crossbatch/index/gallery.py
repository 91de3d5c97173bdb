"""A gallery opened for reading: search, thumbnails, original files and the map."""

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

GROUPS = 16  # row groups of thumbnails kept in memory, 256 thumbnails each
TRIES = 5  # attempts to read a gallery while a writer changes it
MODEL = "model"  # the folder of the model within a gallery
BY = ("auto", "exact", "milvus")
UNIT = 1e-5  # a query whose length is within this of 1 is not rescaled
TABLE, MEANWHILE = "the table", "the table, until the database is in step"  # values of `Method.by`


class Hit(NamedTuple):
    """An image found by a search, and its cosine to the query."""

    image: Image
    similarity: float


class Method(NamedTuple):
    """How a search is answered.

    `name`: `exact` compares every row, `hnsw` searches an index. `by`: the table or the database that answers.
    `recall_at_10`: None if it was not measured.
    """

    name: str
    by: str
    recall_at_10: float | None


class Gallery:
    """A gallery to read, as it was when it was opened; `refresh` reads later changes of a writer."""

    def __init__(self, folder: str | os.PathLike[str], options: dict[str, Any] | None = None, by: str = "auto") -> None:
        if by not in BY:
            raise SettingError(f"by is {', '.join(BY)}, got {by!r}")
        self.folder, self._by = Path(folder), by
        self._link = Link(self.folder, options or {})
        self._lock, self._groups = threading.Lock(), OrderedDict[tuple[str, str, int], list[bytes]]()
        self.rows = self._read()

    @property
    def title(self) -> str:
        """The name shown on pages: that of its folder, or RUN for RUN/gallery."""
        place = self.folder.resolve()
        return place.parent.name if place.name == "gallery" else place.name

    @property
    def description(self) -> Description:
        """The description, of the same revision as `rows`."""
        return self.rows.description

    def __len__(self) -> int:
        return len(self.rows)

    def refresh(self) -> bool:
        """Read the gallery again if it has changed on the disk; return whether it has."""
        now = descriptions.read(self.folder)
        if (now.revision, now.database) == (self.description.revision, self.description.database):
            return False
        self.rows = self._read()
        return True

    def _read(self) -> Rows:
        for _ in range(TRIES - 1):
            try:
                return Rows(self.folder, descriptions.read(self.folder))
            except LostFileError:  # a writer has replaced the file since the description was read
                continue
        return Rows(self.folder, descriptions.read(self.folder))

    @property
    def method(self) -> Method:
        """How a search of the current rows is answered."""
        return self.method_for(self.rows)

    def method_for(self, rows: Rows) -> Method:
        """How a search of these rows is answered.

        A database answers only while it is in step with the table; "auto" asks only the database of a server. Milvus
        Lite walks over its rows in Python: with HNSW too it took ten times as long as comparing each row in memory, at
        any size that was measured (benchmarks/gallery.py).
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
        """The `top` images most similar to each query, the most similar first.

        `queries` [queries, dim] may have any length but 0. `labels`: only images with one of these labels. `without`:
        for each query the id of an image to leave out, or None. `rows`: the rows that the queries were taken from, for
        a gallery that may have been refreshed since.
        """
        rows = rows or self.rows
        queries = _unit(queries, rows.embeddings.shape[1])
        _refuse(top, labels, without, len(queries))
        more = top + bool(without)
        labels = None if labels is None else rows.spelt(labels)
        if not len(rows) or labels == []:
            neighbours: list[list[tuple[int, float]]] = [[] for _ in queries]
        elif self.method_for(rows).by in (TABLE, MEANWHILE):
            neighbours = nearest(queries, rows.embeddings, more, None if labels is None else rows.labelled(labels))
        else:
            answers = self._link.search(rows.description, queries, min(more, len(rows)), labels)
            neighbours = []
            for query, answer in zip(queries, answers, strict=True):
                positions = sorted(rows.position[id_] for id_, _ in answer if id_ in rows.position)
                neighbours.append(exactly(query, rows.embeddings, np.array(positions, np.int64), more))
        left_out = [rows.position.get(id_ or "") for id_ in without] or [None] * len(queries)
        return [
            # Rounded before the comparison: with a shown similarity as `min_similarity`, its image is found again.
            [
                Hit(rows.image(row), round(similarity, 6))
                for row, similarity in hits
                if row != excluded and round(similarity, 6) >= min_similarity
            ][:top]
            for hits, excluded in zip(neighbours, left_out, strict=True)
        ]

    def thumbnail(self, row: int, rows: Rows | None = None) -> bytes:
        """The thumbnail of a row: a JPEG or PNG file."""
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
        """The image of a row to show: its file if that has the indexed content, else its thumbnail."""
        rows = rows or self.rows
        content = self.content(row, rows)
        shown = None if content is None else pictures.to_show(content)
        small = self.thumbnail(row, rows)
        return shown or Picture(small, media_type(small), "thumbnail")

    def content(self, row: int, rows: Rows | None = None) -> bytes | None:
        """The bytes of the file of a row; None if the file is gone or has changed."""
        rows = rows or self.rows
        root, file = rows.place(row)
        if not 0 <= root < len(rows.description.roots) or file is None or b"\0" in file:
            return None
        return pictures.original(self.folder, rows.description.roots[root], file, rows.ids[row])

    def map(self, rows: Rows | None = None) -> dict[str, Point]:
        """The place of each image on the map, by id."""
        return read_map(self.folder, (rows or self.rows).description.map)

    @property
    def notes(self) -> list[str]:
        """Notes for people: folders of images that are gone."""
        roots = [root for number, root in enumerate(self.description.roots) if number in self.rows.roots]
        gone = [root.absolute for root in roots if not root.places(self.folder)]
        return [f"the folder {folder} is gone: its images are shown as small pictures" for folder in gone]

    def close(self) -> None:
        """Close the connection to the database."""
        self._link.close()


def _unit(queries: NDArray[np.float32], dim: int) -> NDArray[np.float32]:
    """Queries [queries, dim] scaled to length 1; within `UNIT` of that length they stay as they are."""
    if queries.ndim != 2 or queries.shape[1] != dim:
        problem = f"queries of shape {list(queries.shape)} do not fit embeddings of {dim} numbers"
        raise ShapeError(f"{problem}: embed them with the gallery's model")
    lengths = np.linalg.norm(queries, axis=1, keepdims=True)
    if not (np.isfinite(lengths) & (lengths > 0)).all():
        raise DataError("a query is zero or not finite, so it has no cosine: embed it anew")
    units: NDArray[np.float32] = np.where(np.abs(lengths - 1) > UNIT, queries / lengths, queries).astype(np.float32)
    return units


def _refuse(top: int, labels: Sequence[str] | None, without: Sequence[str | None], queries: int) -> None:
    """Refuse invalid arguments of a search."""
    if top < 1:
        raise SettingError(f"a search gives at least 1 image, got {top}")
    if isinstance(labels, str):
        raise SettingError(f"labels are a list, got {labels!r}: [{labels!r}]")
    if len(without) not in (0, queries):
        raise ShapeError(f"{queries} queries need as many ids in without, or none, got {len(without)}")
