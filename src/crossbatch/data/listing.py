"""Images that a command gets as files, folders and tables, with the labels that these give."""

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from crossbatch.data import LISTINGS, TABLES, name_for
from crossbatch.data.csv import rows_of
from crossbatch.data.folder import ROLE_OF
from crossbatch.data.image_files import as_label
from crossbatch.data.image_tree import Tree
from crossbatch.data.labelled_files import GALLERY, QUERY, TRAIN
from crossbatch.data.roots import with_notes
from crossbatch.errors import DataError
from crossbatch.harmless import shown


class Listed(NamedTuple):
    """An image file.

    `label`: None if unknown. `root`: the folder that the name is relative to. `labelled`: the label is from a table.
    `role`: such as query or gallery, by the table or by the first folder; None if unknown.
    """

    path: Path
    label: str | None
    root: Path
    labelled: bool = False
    role: str | None = None

    @property
    def name(self) -> str:
        """The path relative to the root, as text; the whole path of a file elsewhere."""
        return shown(self.path.relative_to(self.root) if self.path.is_relative_to(self.root) else self.path)


def listed(
    sources: Sequence[Path], *, skip_missing: bool = False, roles: bool = False
) -> tuple[list[Listed], list[str]]:
    """List the images of files, folders and tables, in order and each once; and notes, one sentence each.

    A table's label counts before a folder's. A folder's label is the first folder below the source: in the source
    `photos`, `photos/apple/3.jpg` has the label apple. If all first folders have names such as train or test, the
    label is the second folder. Raises DataError for a path that does not exist, a file with two labels in tables, and
    a source without images. `skip_missing` leaves out files that a table names but that do not exist.
    A note says of a table's roles that they are not read, unless the caller reads them (`roles`).
    """
    by_path: dict[tuple[Path, str | None], Listed] = {}
    notes: list[str] = []
    repeats = 0
    for source in sources:
        for image in _in(source, notes, skip_missing=skip_missing, roles=roles):
            key = image.path, image.role if roles else None  # a file may be both query and gallery
            earlier = by_path.setdefault(key, image)
            repeats += earlier is not image
            if earlier.label is None or (image.labelled and not earlier.labelled):  # a table's label is preferred
                by_path[key] = image
            if earlier.labelled and image.labelled and earlier.label != image.label:
                raise DataError(
                    f"{image.name} is one file under two labels, {earlier.label!r} and {image.label!r}: "
                    "keep the one that is right"
                )
    if repeats:
        notes.append(f"{'1 image was' if repeats == 1 else f'{repeats:,} images were'} given again: each counts once")
    return list(by_path.values()), notes


def _in(source: Path, notes: list[str], *, skip_missing: bool, roles: bool) -> Iterator[Listed]:
    if source.is_dir():
        tree = Tree()
        paths = tree.images(source, links=True)
        left_out = tree.notes()[:1] if tree.left_out else []
        if not paths:
            raise with_notes(f"there is no image in {shown(source)}", left_out)
        notes += left_out
        if (release := name_for(source)) in LISTINGS:
            notes.append(f"{shown(source)} is read by its folders here, and not by the listing of {release}")
        yield from _labelled_by_folder(source, paths)
    elif source.suffix.lower() in TABLES and source.is_file():
        rows, missing = rows_of(source, skip_missing=skip_missing)
        notes += missing
        given = {row.role for row in rows}
        if not roles and len(given) > 1:
            notes.append(f"the roles in {source} are not read here")
        for row in rows:
            root, role = _root_of(row.path, source.parent), row.role if given != {TRAIN} else None
            yield Listed(row.path, row.label or None, root, labelled=bool(row.label), role=role)
    elif source.is_file():
        yield Listed(source, None, source.parent)
    else:
        raise DataError(f"there is no {shown(source)}: give folders of images, tables of path,label, or image files")


def _root_of(path: Path, table: Path) -> Path:
    """The folder that names of a table's images are relative to: the table's, or, elsewhere, the image's grandparent.

    A name elsewhere thus shows one folder and the file, and no more of the disk. If the grandparent is the root of the
    disk or holds the table, the name is the file's alone.
    """
    if path.is_relative_to(table):
        return table
    above = path.parent.parent
    return path.parent if above == Path(path.anchor) or table.is_relative_to(above) else above


def _labelled_by_folder(root: Path, paths: Sequence[Path]) -> Iterator[Listed]:
    places = [path.relative_to(root).parts for path in paths]
    roles = role_folders(places)
    for path, place in zip(paths, places, strict=True):
        first = place[0].lower()
        yield Listed(path, label_below(place, roles), root, role=ROLE_OF[first] if first in roles else None)


def role_folders(places: Collection[Sequence[str]]) -> frozenset[str]:
    """The first folders, in small letters, that name a role: the label of an image in them is the second folder.

    All, if every first folder has a name such as train or test; else query and gallery, if both hold folders.
    """
    first = frozenset(place[0].lower() for place in places if len(place) > 1)
    if first <= ROLE_OF.keys():
        return first
    pair = frozenset({QUERY, GALLERY})
    return pair if pair <= {place[0].lower() for place in places if len(place) > 2} else frozenset()


def label_below(place: Sequence[str], roles: Collection[str]) -> str | None:
    """The label from the folders above an image, or None; below a folder of `roles` it is the second folder."""
    deep = place[0].lower() in roles
    return as_label(place[deep]) if len(place) > deep + 1 else None
