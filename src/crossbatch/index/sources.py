"""What is to be indexed: images in folders, tables and data sets, each with what to call it and its label."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from crossbatch.data.data_set import DataSet, Images
from crossbatch.data.image_files import FileImages
from crossbatch.data.listing import Listed, labelled_by_folder, listed


@dataclass(frozen=True)
class Found:
    """An image that may be indexed: a `file` below a `root`, or the image of a number in `images`."""

    path: str
    label: str | None
    root: Path | None = None
    file: Path | None = None
    images: Images | None = None
    number: int = -1


def found_in(places: Sequence[Path], known: Sequence[Path] = ()) -> tuple[list[Found], list[str]]:
    """The images of folders, tables and single files, in order; and what was left out, in sentences.

    `known`: folders of the gallery. What lies below one is called as it would be if that folder was given, and labelled
    so where nothing else says a label.
    """
    images, notes = listed(places, skip_missing=True)
    above = sorted((Path(os.path.realpath(one)) for one in known), key=lambda one: len(one.parts))
    found = [_below(one, above) for one in images]
    bare = sum(one.label is None for one in found)
    if bare:
        notes.append(f"{bare:,} of {len(found):,} images have no label: it is the name of a folder below the one given")
    return found, notes


def _below(one: Listed, known: Sequence[Path]) -> Found:
    """An image by the outermost folder of the gallery that it lies in, or by the place that was given."""
    real = Path(os.path.realpath(one.path.parent)) / one.path.name
    root = next((folder for folder in known if real.is_relative_to(folder)), None)
    if root is None or root == Path(os.path.realpath(one.root)):
        return Found(one.name, one.label, one.root, one.path)
    again = Listed(real, one.label, root)
    (labelled,) = labelled_by_folder(root, [real])
    return Found(again.name, one.label or labelled.label, root, real)


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
