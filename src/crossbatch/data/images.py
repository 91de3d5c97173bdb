"""Batches of images, ready for the network: by step for training, in order for evaluation."""

import math
import sys
from typing import Literal

import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from crossbatch.data.pk_batches import PKBatches
from crossbatch.data.records import Images, Part
from crossbatch.data.transforms import Transform, image_seed
from crossbatch.errors import DataError

OnCorrupt = Literal["refuse", "skip"]
Batch = tuple[Tensor, Tensor, Tensor]  # images, labels, ids


class Reader:
    """Reads images; those that cannot be read are refused, or skipped: named once, never tried again."""

    def __init__(self, images: Images, on_corrupt: OnCorrupt = "refuse") -> None:
        self.images, self.on_corrupt = images, on_corrupt
        self.corrupt: set[int] = set()

    def read(self, index: int) -> Image.Image | None:
        """One image; None if it was skipped."""
        if index in self.corrupt:
            return None
        try:
            return self.images.read(index)
        except DataError as error:
            if self.on_corrupt == "refuse":
                raise
            self.corrupt.add(index)
            print(f"skipped: {str(error).split('; mend')[0]}", file=sys.stderr, flush=True)
            return None


class TrainingBatches(Dataset[Batch]):
    """Item `step` is that step's P×K batch, augmented; a pure function of seed and step."""

    def __init__(self, reader: Reader, part: Part, batches: PKBatches, transform: Transform) -> None:
        self.reader, self.part, self.batches, self.transform = reader, part, batches, transform

    def __getitem__(self, step: int) -> Batch:
        """Images float [batch, channels, size, size], labels and ids int64 [batch]."""
        chosen, images = self.batches[step].tolist(), []
        for number, position in enumerate(chosen):
            chosen[number], image = self._readable(position, chosen)
            images.append(image)
        seeds = [image_seed(self.batches.seed, step, position) for position in range(len(chosen))]
        return self.transform(images, seeds), self.part.labels[chosen], self.part.ids[chosen]

    def _readable(self, position: int, chosen: list[int]) -> tuple[int, Image.Image]:
        """The image at a position, or one of its class that can be read, if possible not one already chosen."""
        image = self.reader.read(int(self.part.ids[position]))
        if image is not None:
            return position, image
        places = (self.part.labels == self.part.labels[position]).nonzero()[:, 0].tolist()
        for place in sorted(places, key=lambda place: place in chosen):
            image = self.reader.read(int(self.part.ids[place]))
            if image is not None:
                return place, image
        name = self.reader.images.name(int(self.part.ids[position]))
        raise DataError(f"no image of the class of {name} can be read: mend or remove the class")


class PartBatches(Dataset[Batch]):
    """A part in order, `size` images at a time; images that cannot be read are left out."""

    def __init__(self, reader: Reader, part: Part, transform: Transform, size: int = 256) -> None:
        self.reader, self.part, self.transform, self.size = reader, part, transform, size

    def __len__(self) -> int:
        return math.ceil(len(self.part) / self.size)

    def __getitem__(self, number: int) -> Batch:
        """Images float [batch, channels, size, size], labels and ids int64 [batch]."""
        if number >= len(self):
            raise IndexError(number)
        places = range(number * self.size, min((number + 1) * self.size, len(self.part)))
        read = [(place, self.reader.read(int(self.part.ids[place]))) for place in places]
        kept = [place for place, image in read if image is not None]
        images = [image for _, image in read if image is not None]
        pixels = self.transform(images, [0] * len(images)) if images else torch.empty(0)
        return pixels, self.part.labels[kept], self.part.ids[kept]
