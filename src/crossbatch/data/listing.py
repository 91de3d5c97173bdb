"""Images as a command is given them: files, folders, tables; with the labels that these say."""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from crossbatch.data import TABLES, csv
from crossbatch.data.folder import ROLE_OF
from crossbatch.data.image_files import shown
from crossbatch.data.image_tree import Tree
from crossbatch.errors import DataError


class Listed(NamedTuple):
    """An image file, and its label where one is known."""

    path: Path
    label: str | None


def listed(sources: Iterable[Path]) -> tuple[list[Listed], list[str]]:
    """Every image of files, folders and tables, in order and each once; and what was left out, a sentence each.

    An image's label is what its table says, or the folder that it lies in directly below the one given: of
    `photos/apple/3.jpg` in `photos` it is apple, also behind train/, test/ and the like. Raises DataError for what is
    not there, and where there is no image at all.
    """
    tree = Tree()
    found: dict[Path, str | None] = {}
    for source in sources:
        if source.is_dir():
            found |= {path: _label(path.relative_to(source).parts) for path in tree.images(source) if path not in found}
        elif source.suffix.lower() in TABLES and source.is_file():
            found |= csv.labels(source)
        elif source.is_file():
            found.setdefault(source, None)
        else:
            raise DataError(f"there is no file and no folder {shown(source)}: give images, folders or tables of them")
    if not found:
        raise DataError(f"no image in {', '.join(map(shown, sources))}{_left(tree)}: give other folders, or files")
    return [Listed(path, label) for path, label in found.items()], tree.notes()


def _label(parts: tuple[str, ...]) -> str | None:
    folders = parts[1:-1] if len(parts) > 2 and parts[0].lower() in ROLE_OF else parts[:-1]
    return shown(folders[0]) if folders else None


def _left(tree: Tree) -> str:
    left = "; ".join(tree.notes())
    return f" ({left})" if left else ""
