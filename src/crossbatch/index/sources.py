"""What is to be indexed: images in folders, tables and data sets, each with what to call it and its label."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from crossbatch.data.data_set import DataSet, Images
from crossbatch.data.image_files import FileImages
from crossbatch.data.listing import listed


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
    images, notes = listed(places)
    return [Found(one.name, one.label, one.root, one.path) for one in images], notes


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
