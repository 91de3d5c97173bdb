"""What is to be indexed: images in folders, tables and data sets, each with what to call it and its label."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from crossbatch.data import TABLES
from crossbatch.data.csv import rows_of
from crossbatch.data.data_set import DataSet, Images
from crossbatch.data.folder import ROLE_OF
from crossbatch.data.image_files import FileImages, shown
from crossbatch.data.image_tree import Tree
from crossbatch.errors import DataError


@dataclass(frozen=True)
class Found:
    """An image that may be indexed: a `file` below a `root`, or the image of a number in `images`."""

    path: str
    label: str | None
    root: Path | None = None
    file: Path | None = None
    images: Images | None = None
    number: int = -1


def found_in(places: Sequence[Path]) -> tuple[list[Found], list[str]]:
    """The images of folders, tables and single files, in order; and what was left out, in sentences."""
    found: list[Found] = []
    notes: list[str] = []
    for place in places:
        if place.is_dir():
            tree = Tree()
            images = tree.images(place)
            found += _labelled_by_folder(place, images)
            notes += Tree.notes(tree) if images else []
            if not images:
                left = "; ".join(tree.notes()[:1])
                raise DataError(f"there is no image in {place}{f' ({left})' if tree.left_out else ''}")
        elif place.suffix.lower() in TABLES and place.is_file():
            found += [
                Found(
                    shown(row.path.relative_to(place.parent))
                    if row.path.is_relative_to(place.parent)
                    else shown(row.path),
                    row.label,
                    place.parent,
                    row.path,
                )
                for row in rows_of(place)
            ]
        elif place.is_file():
            found.append(Found(place.name, None, place.parent, place))
        else:
            raise DataError(f"there is no {place}: give folders of images, tables of path,label, or image files")
    return found, notes


def _labelled_by_folder(root: Path, images: Sequence[Path]) -> Iterator[Found]:
    """The first folder below the root is the label; the second where all first ones say what images are for."""
    places = [path.relative_to(root).parts for path in images]
    first = {place[0].lower() for place in places if len(place) > 1}
    deep = 1 if first and first <= ROLE_OF.keys() else 0
    for path, place in zip(images, places, strict=True):
        label = shown(place[deep]) if len(place) > deep + 1 else None
        yield Found(shown("/".join(place)), label, root, path)


def found_in_data_set(loaded: DataSet) -> list[Found]:
    """Every image of a data set, once."""
    labels: dict[int, str] = {}
    for part in loaded.parts.values():
        for number, label in zip(part.ids.tolist(), part.labels.tolist(), strict=True):
            labels[number] = loaded.class_names[label]
    images = loaded.images
    if isinstance(images, FileImages):
        return [
            Found(images.name(number), label, images.root, Path(images.paths[number]))
            for number, label in sorted(labels.items())
        ]
    return [Found(images.name(number), label, images=images, number=number) for number, label in sorted(labels.items())]
