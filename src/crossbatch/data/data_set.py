"""A loaded data set: images, labels, and the parts for training, validation and test."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import torch
from PIL import Image
from torch import Tensor

from crossbatch.data.augment import Policy
from crossbatch.data.crops import Look
from crossbatch.errors import DataError


@runtime_checkable
class Images(Protocol):
    """Images by index. The index is the image's id in training, in the memory and in every result.

    `in_memory`: True if reading opens no file; such images are read on one thread.
    """

    in_memory: bool

    def __len__(self) -> int:
        """Number of images."""

    def read(self, index: int) -> Image.Image:
        """Read one image; if it cannot be read, `DataError` names its file."""

    def see(self, index: int, look: Look) -> Tensor:
        """Read the view that `look` chooses, uint8 [channels, height, width]; `DataError` as in `read`."""

    def name(self, index: int) -> str:
        """The name of an image in tables and messages."""


@dataclass(frozen=True)
class Part:
    """Some images of a data set: their labels and ids, both int64 [images]."""

    labels: Tensor
    ids: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def classes(self) -> int:
        """Number of classes in this part."""
        return len(self.labels.unique())

    @property
    def counts(self) -> dict[str, int]:
        """Numbers for tables: images, classes, images per class, and classes with a single image."""
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
        """The part with those images whose `mask` [images] is true."""
        return Part(self.labels[mask], self.ids[mask])

    def __add__(self, other: "Part") -> "Part":
        return Part(torch.cat([self.labels, other.labels]), torch.cat([self.ids, other.ids]))


@dataclass(frozen=True)
class Search:
    """Queries and their gallery; without a `gallery`, each query searches all other images of `query`."""

    query: Part
    gallery: Part | None = None


@dataclass(frozen=True)
class DataSet:
    """Training, validation and test parts of one data set.

    `tests`: one search named test, or several, each named after its test list. `image_size`: the side in pixels at
    which a network that takes any size sees the images; None chooses it by the sizes of the files. `ks`: the usual K of
    Recall@K. `expected`: published numbers of images and classes of each part, None if not published. `copies`: groups
    of ids of images whose files have the same bytes. `policy`: the suitable augmentation, auto if not known.
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
        """All searches by name: the tests and the validation part."""
        return {**self.tests, "validation": Search(self.validation)}

    @property
    def parts(self) -> dict[str, Part]:
        """All parts with images, by name; a test without a gallery is one part under the test's name."""
        parts = {"train": self.train, "validation": self.validation}
        for name, search in self.tests.items():
            parts |= {name: search.query} if search.gallery is None else {"query": search.query}
            parts |= {} if search.gallery is None else {"gallery": search.gallery}
        return {name: part for name, part in parts.items() if len(part)}

    @property
    def query(self) -> Part:
        """Queries of the first test."""
        return next(iter(self.tests.values())).query

    @property
    def gallery(self) -> Part | None:
        """Gallery of the first test, if it has one."""
        return next(iter(self.tests.values())).gallery

    @property
    def identity(self) -> dict[str, str]:
        """Name and fingerprint; they differ for another data set, and for this one after a change."""
        return {"name": self.name, "fingerprint": self.fingerprint}

    @property
    def outline(self) -> dict[str, Any]:
        """The identity, and the numbers of images and classes, by which a later message tells what has changed."""
        return {**self.identity, "images": len(self.images), "classes": len(self.class_names)}


def hold_out(part: Part, share: float, seed: int, what: str) -> tuple[Part, Part]:
    """Divide a part by classes: the rest, and `share` of the classes, at least one class unless `share` is 0.

    Of five classes or more at least two are held out, since R@1 among the images of one class is always 1.
    Errors name the share as `what`.
    """
    if not 0 <= share < 1:
        raise DataError(f"{what} must be at least 0 and below 1, got {share}")
    classes = part.labels.unique()
    fewest = 0 if share == 0 else 1 if len(classes) < 5 else 2
    held_out = max(fewest, round(share * len(classes)))
    if held_out >= len(classes):
        count = "1 class is" if len(classes) == 1 else f"{len(classes)} classes are"
        raise DataError(f"{count} too few to hold out {what}={share} of them and train on the rest")
    order = torch.randperm(len(classes), generator=torch.Generator().manual_seed(seed))
    mask = torch.isin(part.labels, classes[order[:held_out]])
    return part.select(~mask), part.select(mask)


def queries(part: Part) -> Tensor:
    """Mask of the images that can be queries: their class has another image in the part."""
    _, inverse, counts = part.labels.unique(return_inverse=True, return_counts=True)
    several: Tensor = counts[inverse] > 1
    return several


def require_pairs(part: Part, what: str) -> None:
    """Refuse a part without a positive pair: none of its classes has two images."""
    if not queries(part).any():
        raise DataError(
            f"no class of the {what} has two images ({len(part)} images, {part.classes} classes): "
            "a positive pair needs two images of one class"
        )
