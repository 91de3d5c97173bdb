"""Images as a command is given them: files, folders, tables; with the labels that these say."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from crossbatch.data import TABLES
from crossbatch.data.csv import rows_of
from crossbatch.data.folder import ROLE_OF
from crossbatch.data.image_files import as_label
from crossbatch.data.image_tree import Tree
from crossbatch.errors import DataError
from crossbatch.harmless import shown


class Listed(NamedTuple):
    """An image file, its label where one is known, the folder that it was found through; whether a table has it."""

    path: Path
    label: str | None
    root: Path
    labelled: bool = False

    @property
    def name(self) -> str:
        """The path below the root, as text."""
        return shown(self.path.relative_to(self.root) if self.path.is_relative_to(self.root) else self.path)


def listed(sources: Sequence[Path], *, skip_missing: bool = False) -> tuple[list[Listed], list[str]]:
    """Every image of files, folders and tables, in order and each once; and what was left out, a sentence each.

    An image's label is what its table says, or the first folder below the one given: of `photos/apple/3.jpg` in
    `photos` it is apple. Where all first folders are train, test and the like, it is the second. Raises DataError for
    what is not there, a file under two labels, and where there is no image at all; `skip_missing` leaves out files that
    a table names in vain.
    """
    found: dict[Path, Listed] = {}
    notes: list[str] = []
    again = 0
    for source in sources:
        for one in _in(source, notes, skip_missing=skip_missing):
            before = found.setdefault(one.path, one)
            again += before is not one
            if before.label is None or (one.labelled and not before.labelled):  # a table has the last word
                found[one.path] = one
            if before.labelled and one.labelled and before.label != one.label:
                raise DataError(
                    f"{one.name} is one file under two labels, {before.label!r} and {one.label!r}: "
                    "keep the one that is right"
                )
    if again:
        notes.append(f"{'1 image was' if again == 1 else f'{again:,} images were'} given again: each counts once")
    return list(found.values()), notes


def _in(source: Path, notes: list[str], *, skip_missing: bool) -> Iterator[Listed]:
    if source.is_dir():
        tree = Tree()
        paths = tree.images(source, links=True)
        left = tree.notes()[:1] if tree.left_out else []
        if not paths:
            raise DataError(f"there is no image in {shown(source)}{f' ({left[0]})' if left else ''}")
        notes += left
        yield from _labelled_by_folder(source, paths)
    elif source.suffix.lower() in TABLES and source.is_file():
        rows, missing = rows_of(source, skip_missing=skip_missing)
        notes += missing
        for row in rows:
            yield Listed(row.path, row.label or None, _root_of(row.path, source.parent), labelled=bool(row.label))
    elif source.is_file():
        yield Listed(source, None, source.parent)
    else:
        raise DataError(f"there is no {shown(source)}: give folders of images, tables of path,label, or image files")


def _root_of(path: Path, table: Path) -> Path:
    """The folder of a table, or, of an image elsewhere, the one above its own: a name then tells no more of a disk."""
    if path.is_relative_to(table):
        return table
    above = path.parent.parent
    return path.parent if above == Path(path.anchor) or table.is_relative_to(above) else above


def _labelled_by_folder(root: Path, paths: Sequence[Path]) -> Iterator[Listed]:
    deep = roles_come_first(path.relative_to(root).parts for path in paths)
    for path in paths:
        yield Listed(path, label_below(path.relative_to(root).parts, deep=deep), root)


def roles_come_first(places: Iterable[Sequence[str]]) -> bool:
    """Whether all first folders are train, test and the like, and the label is that of the next."""
    first = {place[0].lower() for place in places if len(place) > 1}
    return bool(first) and first <= ROLE_OF.keys()


def label_below(place: Sequence[str], *, deep: bool) -> str | None:
    """The label that the folders above an image say, or none."""
    return as_label(place[deep]) if len(place) > deep + 1 else None
