"""Changes to a gallery: first write whole files, then the description that names them, so that a kill loses nothing."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from crossbatch.durable import PARTIAL
from crossbatch.index import description as descriptions
from crossbatch.index.description import Database, Description, Map, Model, Root
from crossbatch.index.part_files import Entry, PartFile, doors, table_of, write_whole
from crossbatch.index.rows import Rows
from crossbatch.locks import locked

SMALL, LARGE = 4096, 16_384  # rows: a file with fewer than SMALL is joined with others, up to LARGE together
LOCK = "lock"
MANY = 48  # number of small files at which they are joined


class Change(NamedTuple):
    """New values for the columns of an image's row."""

    path: str
    label: str | None
    root: int
    file: bytes | None


class Writer:
    """Changes a gallery; made by `writing`, which holds the lock."""

    def __init__(self, folder: Path, description: Description) -> None:
        self.folder, self.description = folder, description
        self._numbers: dict[Path, int] = {}

    @cached_property
    def _roots(self) -> dict[str, int]:
        """The number of each folder of images, by its absolute path when indexed and by its present path."""
        roots = list(enumerate(self.description.roots))
        now = {str(root.now(self.folder)): number for number, root in reversed(roots)}
        return now | {root.absolute: number for number, root in reversed(roots)}

    def rows(self) -> Rows:
        """The rows of the gallery, with all changes so far."""
        return Rows(self.folder, self.description)

    def root(self, place: Path) -> int:
        """The number of a folder of images; a new folder gets the next number."""
        if place not in self._numbers:
            root, roots = Root.of(place, self.folder), self.description.roots
            if root.absolute not in self._roots:
                self.description = replace(self.description, roots=(*roots, root))  # saved with the next change of rows
            self._numbers[place] = self._roots.setdefault(root.absolute, len(roots))
        return self._numbers[place]

    def append(self, entries: Sequence[Entry], embeddings: NDArray[np.float32]) -> None:
        """Add rows [images, dim]: all of them or, if it fails, none."""
        table = table_of(entries, embeddings, self.description.model.fingerprint)
        self._put([*self.description.parts, self._part(table)])
        if sum(self._is_small(name) for name in self.description.parts) >= MANY:
            self.compact()

    def remove(self, ids: set[str]) -> int:
        """Remove rows with their thumbnails; return how many were removed."""
        arrow, _ = doors()
        before = self._count()

        def kept(table: Any) -> Any:
            gone = [id_ in ids for id_ in table.column("id").to_pylist()]
            return table.filter(arrow.array([not is_gone for is_gone in gone])) if any(gone) else table

        self._rewrite(kept)
        return before - self._count()

    def update(self, changes: Mapping[str, Change]) -> None:
        """Change the path, label and file of rows, by id."""
        arrow, _ = doors()

        def changed(table: Any) -> Any:
            ids = table.column("id").to_pylist()
            if not changes.keys() & set(ids):
                return table
            for name in Change._fields:
                old = table.column(name).to_pylist()
                new = [
                    getattr(changes[id_], name) if id_ in changes else value
                    for id_, value in zip(ids, old, strict=True)
                ]
                column = table.schema.get_field_index(name)
                table = table.set_column(column, name, arrow.array(new, table.schema.field(name).type))
            return table

        self._rewrite(changed)

    def compact(self) -> None:
        """Join small files that follow each other in the table."""
        arrow, _ = doors()
        parts: list[str] = []
        for run in _runs(self.description.parts, self._rows_of):
            if len(run) == 1:
                parts += run
            else:
                tables = [PartFile(self.folder / name).read() for name in run]
                parts.append(self._part(arrow.concat_tables(tables, promote_options="default").unify_dictionaries()))
        if parts != list(self.description.parts):
            self._put(parts)

    def keep_map(self, ids: Sequence[str], places: NDArray[np.float32], method: str, fitted: int) -> None:
        """Write the map: coordinates [images, 2], one row for each id."""
        arrow, _ = doors()
        name = f"map-{self.description.next_part:08}.parquet"
        table = arrow.table({"id": list(ids), "x": places[:, 0], "y": places[:, 1]})
        write_whole(self.folder / name, table)
        self._save(self.description.changed(map=Map(name, method, fitted), next_part=self.description.next_part + 1))

    def keep_database(self, database: Database) -> None:
        """Save the state of the database; it changes no image, so the revision stays."""
        self._save(replace(self.description, database=database))

    def _part(self, table: Any) -> str:
        name = f"part-{self.description.next_part:08}.parquet"
        self.description = replace(self.description, next_part=self.description.next_part + 1)
        write_whole(self.folder / name, table)
        return name

    def _rewrite(self, change: Callable[[Any], Any]) -> None:
        """Apply `change` to the table of every file; a file is written only if `change` returns another table."""
        parts = []
        for name in self.description.parts:
            before = PartFile(self.folder / name).read()
            after = change(before)
            if after is before:
                parts.append(name)
            elif after.num_rows:
                parts.append(self._part(after))
        if parts != list(self.description.parts):
            self._put(parts)

    def _put(self, parts: Sequence[str]) -> None:
        self._save(self.description.changed(parts=tuple(parts)))

    def _save(self, description: Description) -> None:
        descriptions.write(self.folder, description)
        self.description = description
        self._sweep()

    def _sweep(self) -> None:
        """Remove files that the description does not name: replaced ones, and those of a writer that was killed."""
        named = {*self.description.parts, self.description.map.file if self.description.map else ""}
        for pattern in ("part-*.parquet*", "map-*.parquet*", f"{descriptions.FILE}.*{PARTIAL}"):
            for path in self.folder.glob(pattern):
                if path.name not in named:
                    with suppress(OSError):
                        path.unlink()

    def _rows_of(self, name: str) -> int:
        return len(PartFile(self.folder / name))

    def _is_small(self, name: str) -> bool:
        return self._rows_of(name) < SMALL

    def _count(self) -> int:
        return sum(map(self._rows_of, self.description.parts))


def _runs(parts: Sequence[str], rows_of: Callable[[str], int]) -> Iterator[list[str]]:
    """Files in order, grouped: small files that follow each other form one group of at most `LARGE` rows."""
    run: list[str] = []
    total = 0
    for name in parts:
        rows = rows_of(name)
        if rows < SMALL and run and total + rows <= LARGE:
            run.append(name)
            total += rows
            continue
        if run:
            yield run
        run, total = [name], rows if rows < SMALL else LARGE
    if run:
        yield run


@contextmanager
def writing(folder: Path, model: Model | None = None, database: Database | None = None) -> Iterator[Writer]:
    """Lock a gallery to change it; given a model and a database, make it first if it does not exist."""
    if model is None and not descriptions.is_gallery(folder):
        descriptions.read(folder)  # raises an error that says what to do
    with locked(folder / LOCK, "wait for its end, or stop it"):  # readers need no lock
        if model and database and not descriptions.is_gallery(folder):
            descriptions.write(folder, Description(model, database))
        yield Writer(folder, descriptions.read(folder))
