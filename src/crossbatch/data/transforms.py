"""Preparation of images for a network, without random changes, as in evaluation."""

import hashlib
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, Protocol, get_args, runtime_checkable

import torch
from PIL import Image, ImageColor
from torch import Tensor

from crossbatch.data.crops import Colour, Look, View, upright
from crossbatch.errors import RunError, SettingError

SLENDER = 16  # times the network's aspect ratio: a longer image is cut to this before it is scaled
RESERVE = 2.0  # as in Pillow's thumbnails: the decoder leaves the last reduction by half to the resizing
LUMA = (0.299, 0.587, 0.114)
Fit = Literal["crop", "pad", "squash"]
MOST_PIXELS = 4096  # of a side; a model file may come from a stranger


@runtime_checkable
class Transform(Protocol):
    """Choose a view of each image by its seed, and convert views to the network's input."""

    def look(self, seed: int) -> Look:
        """The look that chooses the view of an image."""

    def __call__(self, views: Sequence[Tensor], seeds: Sequence[int]) -> Tensor:
        """Views, each uint8 [channels, height, width] → float [images, channels, size, size]."""


@dataclass(frozen=True)
class Preprocessing:
    """How a network's images are prepared; saved with the model.

    `size`: side of the square in pixels, or height and width. `resize`: shorter side of the area of this shape that an
    image is scaled to cover before the crop. `background`: the colour, by name or as #rrggbb, that shows where an image
    is transparent or padded. `fit`: what evaluation shows of an image of another shape: its centre (crop), the whole
    image on the background (pad), or the whole image stretched (squash).
    """

    size: int | tuple[int, int]
    resize: int
    channels: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    background: str = "white"
    fit: Fit = "crop"

    @classmethod
    def restore(cls, plain: Mapping[str, Any]) -> "Preprocessing":
        """Build from the fields in JSON, which has lists for tuples; older models have fewer fields."""
        values: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in plain.items()
        }
        try:
            restored = cls(**values)
            restored.check()
        except (TypeError, ValueError) as error:
            reason = str(error).split("\n")[0]
            raise RunError(f"the image preparation of the model cannot be used ({reason}): copy it anew") from error
        return restored

    def check(self) -> None:
        """Raise ValueError for values that no training writes."""
        for name, pixels in (("size", min(self.sides)), ("size", max(self.sides)), ("resize", self.resize)):
            if type(pixels) is not int or not 1 <= pixels <= MOST_PIXELS:
                raise ValueError(f"{name} is {pixels!r}")
        if len(self.sides) != 2 or self.channels not in (1, 3) or self.fit not in get_args(Fit):
            raise ValueError(f"size is {self.size}, channels {self.channels}, fit {self.fit!r}")
        numbers = [*self.mean, *self.std, *(1 / deviation for deviation in self.std if deviation)]
        if not len(self.mean) == len(self.std) == self.channels == sum(deviation > 0 for deviation in self.std):
            raise ValueError(f"mean is {self.mean} and std {self.std} for {self.channels} channels")
        if not all(map(math.isfinite, numbers)):
            raise ValueError("mean and std are not finite")
        background_colour(self.background)

    @property
    def sides(self) -> tuple[int, int]:
        """Height and width that the network sees."""
        return (self.size, self.size) if isinstance(self.size, int) else self.size

    @property
    def colour(self) -> Colour:
        """The background as red, green and blue."""
        return background_colour(self.background)

    def __call__(self, image: Image.Image) -> Tensor:
        """Prepare one PIL image, turned upright by its EXIF data: float [channels, height, width]."""
        if not isinstance(image, Image.Image):
            wrong = f"a PIL image is prepared for the network, got {type(image).__name__}"
            raise SettingError(f"{wrong}: open it with PIL.Image.open, or call embed, which takes files and arrays too")
        return self.tensor([image])[0]

    def tensor(self, images: Sequence[Image.Image]) -> Tensor:
        """Convert to the right channels, scale, crop the centre or pad, normalise."""
        return self.normalize([self.look(*image.size).of(image) for image in map(upright, images)])

    def look(self, width: int, height: int) -> View:
        """The view of a whole image, scaled; the ends of a very long image are cut off first."""
        (high, wide), left, upper = self.sides, 0, 0
        if self.fit == "crop":  # scaled whole, a very long image would fill memory with what the crop then cuts off
            left = max(0, width - SLENDER * height * math.ceil(wide / high)) // 2
            upper = max(0, height - SLENDER * width * math.ceil(high / wide)) // 2
        box = (left, upper, width - left, height - upper)
        size = self._scaled(width - 2 * left, height - 2 * upper)
        return View((width, height), box, size, self.channels, False, RESERVE, self.colour)

    def _scaled(self, width: int, height: int) -> tuple[int, int]:
        """Width and height to scale an image to: it then covers the wanted area, fits into it, or fills it."""
        high, wide = self.sides
        if self.fit == "squash":
            return wide, high
        if self.fit == "crop":
            high, wide = high * self.resize // min(self.sides), wide * self.resize // min(self.sides)
        if (wide * height >= high * width) == (self.fit == "crop"):
            return wide, max(1, wide * height // width)
        return max(1, high * width // height), high

    def normalize(self, views: Sequence[Tensor]) -> Tensor:
        """Views, each uint8 [channels, height, width] → float centres, minus the mean, divided by the deviation."""
        mean, std = (255 * torch.tensor(value).view(-1, 1, 1) for value in (self.mean, self.std))
        # In place: new memory for a batch takes as long as the arithmetic.
        return self.pixels(views).float().sub_(mean).div_(std)

    def pixels(self, views: Sequence[Tensor]) -> Tensor:
        """The centre of each view, uint8 [images, channels, height, width]."""
        return torch.stack([view if view.shape[1:] == self.sides else self._centred(view) for view in views])

    def _centred(self, view: Tensor) -> Tensor:
        """Crop a view to the network's size, or pad it to that size with the background."""
        (high, wide), (height, width) = self.sides, view.shape[1:]
        if self.fit != "pad":  # as torchvision's center_crop; importing it takes as long as torch does
            top, left = round((height - high) / 2), round((width - wide) / 2)
            return view[:, top : top + high, left : left + wide]
        top, left = (high - height) // 2, (wide - width) // 2
        grey = round(sum(part * share for part, share in zip(self.colour, LUMA, strict=True)))
        fill = torch.tensor([grey] if self.channels == 1 else self.colour, dtype=torch.uint8)
        padded = fill[:, None, None].repeat(1, high, wide)
        padded[:, top : top + height, left : left + width] = view
        return padded


@cache
def background_colour(name: str) -> Colour:
    """A colour by its name or as #rrggbb."""
    try:
        return ImageColor.getrgb(name)[:3]
    except ValueError:
        raise SettingError(f"--model.background is a colour, as white, black or #8a8f98, got {name}") from None


def image_seed(seed: int, step: int, position: int) -> int:
    """The seed of one image of one step; all random choices for the image depend on it alone."""
    return int.from_bytes(hashlib.blake2b(f"{seed}/{step}/{position}".encode(), digest_size=7).digest(), "big")


class Evenly:
    """A transform without random changes, for evaluation and for filling the memory."""

    def __init__(self, preprocessing: Preprocessing) -> None:
        self.preprocessing = preprocessing

    def look(self, seed: int) -> Look:  # noqa: ARG002
        """The look that shows the whole image."""
        return self.preprocessing.look

    def __call__(self, views: Sequence[Tensor], seeds: Sequence[int]) -> Tensor:  # noqa: ARG002
        """Crop the centre of each view and normalise it."""
        return self.preprocessing.normalize(views)


class Pixels(Evenly):
    """The same without normalising, uint8 [images, channels, height, width]: for a graph that normalises itself."""

    def __call__(self, views: Sequence[Tensor], seeds: Sequence[int]) -> Tensor:  # noqa: ARG002
        """Crop the centre of each view."""
        return self.preprocessing.pixels(views)


def sides_of(size: int | str | None) -> int | tuple[int, int] | None:
    """Parse `--model.image_size` into a side, or into height and width; None where it is not given."""
    if size is None:
        return None
    sides = re.fullmatch(r"(\d+)(?:x(\d+))?", str(size))
    high, wide = (int(sides[1]), int(sides[2] or sides[1])) if sides else (0, 0)
    if not 8 <= min(high, wide) <= max(high, wide) <= MOST_PIXELS:
        raise SettingError(
            f"--model.image_size is a side of 8 to {MOST_PIXELS:,} pixels, as 224, or height and width, as 256x128; "
            f"got {size}"
        )
    return high if high == wide else (high, wide)
