"""What a data set is, once read: images, labels, and who trains, validates and is searched."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import torch
from PIL import Image
from torch import Tensor

from crossbatch.data.augment import Policy
from crossbatch.data.crops import Look
from crossbatch.errors import DataError


@runtime_checkable
class Images(Protocol):
    """Images by number: the number is the image's id in training, in the memory and in every result."""

    in_memory: bool

    def __len__(self) -> int:
        """How many there are."""

    def read(self, index: int) -> Image.Image:
        """One image; `DataError` names the file that cannot be read."""

    def see(self, index: int, look: Look) -> Tensor:
        """What a look shows of one image, uint8 [channels, height, width]; `DataError` as for `read`."""

    def name(self, index: int) -> str:
        """What to call it in a table."""


@dataclass(frozen=True)
class Part:
    """Some images of a data set: their labels and their ids, int64 [images] both."""

    labels: Tensor
    ids: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def classes(self) -> int:
        """How many classes there are in this part."""
        return len(self.labels.unique())

    @property
    def counts(self) -> dict[str, int]:
        """Images, classes, and images per class, for tables."""
        per_class = self.labels.unique(return_counts=True)[1]
        return {
            "images": len(self),
            "classes": len(per_class),
            "fewest": int(per_class.min()) if len(per_class) else 0,
            "median": int(per_class.median()) if len(per_class) else 0,
            "most": int(per_class.max()) if len(per_class) else 0,
            "single": int((per_class == 1).sum()),
        }

    def select(self, mask: Tensor) -> "Part":
        """The images where a mask [images] is true."""
        return Part(self.labels[mask], self.ids[mask])

    def __add__(self, other: "Part") -> "Part":
        return Part(torch.cat([self.labels, other.labels]), torch.cat([self.ids, other.ids]))


@dataclass(frozen=True)
class Search:
    """What is searched in what: without a `gallery`, each image of `query` among all the others."""

    query: Part
    gallery: Part | None = None


@dataclass(frozen=True)
class DataSet:
    """Training, validation and test parts of one data set.

    `tests` has one search by the name test, or several by the names of their lists. `image_size`: the side in pixels
    that a network of any size takes, None for that of the files. `ks`: the K of Recall@K that are usual for it.
    `expected`: images and classes that the published parts have, None where that is not known. `copies`: groups of ids
    of images whose files have the same bytes. `policy`: the augmentation that suits, where that is known.
    """

    name: str
    images: Images
    class_names: tuple[str, ...]
    train: Part
    validation: Part
    tests: Mapping[str, Search]
    fingerprint: str
    channels: int = 3
    image_size: int | None = None
    ks: tuple[int, ...] = (1, 2, 4, 8)
    expected: Mapping[str, tuple[int | None, int | None]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    copies: Sequence[Sequence[int]] = ()
    policy: Policy = "auto"

    @property
    def searches(self) -> dict[str, Search]:
        """Every part that can be searched, by its name."""
        return {**self.tests, "validation": Search(self.validation)}

    @property
    def parts(self) -> dict[str, Part]:
        """Every part by its name; a test list without a gallery has the list's name."""
        parts = {"train": self.train, "validation": self.validation}
        for name, search in self.tests.items():
            parts |= {name: search.query} if search.gallery is None else {"query": search.query}
            parts |= {} if search.gallery is None else {"gallery": search.gallery}
        return {name: part for name, part in parts.items() if len(part)}

    @property
    def query(self) -> Part:
        """Queries of the first test list."""
        return next(iter(self.tests.values())).query

    @property
    def gallery(self) -> Part | None:
        """Gallery of the first test list, if it has one."""
        return next(iter(self.tests.values())).gallery

    @property
    def identity(self) -> dict[str, str]:
        """What tells it from another, or from itself once it has changed."""
        return {"name": self.name, "fingerprint": self.fingerprint}


def hold_out(part: Part, share: float, seed: int, what: str) -> tuple[Part, Part]:
    """Divide a part by classes: the rest, and `share` of the classes, at least one where share is not 0."""
    if not 0 <= share < 1:
        raise DataError(f"{what} must be at least 0 and below 1, got {share}")
    classes = part.labels.unique()
    held = round(share * len(classes)) if share == 0 else max(1, round(share * len(classes)))
    if held >= len(classes):
        count = "1 class is" if len(classes) == 1 else f"{len(classes)} classes are"
        raise DataError(f"{count} too few to hold out {what}={share} of them and train on the rest")
    order = torch.randperm(len(classes), generator=torch.Generator().manual_seed(seed))
    mask = torch.isin(part.labels, classes[order[:held]])
    return part.select(~mask), part.select(mask)


def queries(part: Part) -> Tensor:
    """Mask of the images that can be queries: those whose class has another image in the part."""
    _, inverse, counts = part.labels.unique(return_inverse=True, return_counts=True)
    several: Tensor = counts[inverse] > 1
    return several


def require_pairs(part: Part, what: str) -> None:
    """Refuse a part in which no class has two images: there is nothing to pull together."""
    if not queries(part).any():
        raise DataError(
            f"no class of the {what} has two images ({len(part)} images, {part.classes} classes): "
            "a positive pair needs two images of one class"
        )
