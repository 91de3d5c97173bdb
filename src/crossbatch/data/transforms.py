"""From images to the tensor that a network takes; evenly, as in evaluation."""

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, Protocol, get_args, runtime_checkable

import torch
from PIL import Image, ImageColor
from torch import Tensor

from crossbatch.data.crops import Colour, Look, View, upright
from crossbatch.errors import RunError, SettingError

SLENDER = 16  # times the shape of what the network sees: no more of an image is scaled
RESERVE = 2.0  # for evaluation, as in Pillow's thumbnails: the last reduction by half is left to the resizing
LUMA = (0.299, 0.587, 0.114)
Fit = Literal["crop", "pad", "squash"]
MOST_PIXELS = 4096  # of a side, in a file that anybody may have written


@runtime_checkable
class Transform(Protocol):
    """What is to be seen of each image under its seed, and what the network takes of that."""

    def look(self, seed: int) -> Look:
        """What is to be seen of an image."""

    def __call__(self, views: Sequence[Tensor], seeds: Sequence[int]) -> Tensor:
        """What `look` has shown, uint8 [channels, height, width] each → float [images, channels, size, size]."""


@dataclass(frozen=True)
class Preprocessing:
    """How a network wants its images; kept with the model.

    `size`: side of the square in pixels, or height and width. `resize`: what its shorter side is scaled to before the
    crop. `background`: the colour, by name or as #rrggbb, that shows where an image is transparent or padded. `fit`:
    how an image of another shape is seen in evaluation: its centre (crop), all of it on the background (pad), or all
    of it out of proportion (squash).
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
        """From the fields as JSON keeps them, lists for tuples; older models have fewer."""
        values: dict[str, Any] = {name: tuple(one) if isinstance(one, list) else one for name, one in plain.items()}
        try:
            restored = cls(**values)
            restored.check()
        except (TypeError, ValueError) as error:
            reason = str(error).split("\n")[0]
            raise RunError(f"what the model says of its images cannot be used ({reason}): copy it anew") from error
        return restored

    def check(self) -> None:
        """Refuse with ValueError what no training has written."""
        for name, pixels in (("size", min(self.sides)), ("size", max(self.sides)), ("resize", self.resize)):
            if type(pixels) is not int or not 1 <= pixels <= MOST_PIXELS:
                raise ValueError(f"{name} is {pixels!r}")
        if len(self.sides) != 2 or self.channels not in (1, 3) or self.fit not in get_args(Fit):
            raise ValueError(f"size is {self.size}, channels {self.channels}, fit {self.fit!r}")
        numbers = [*self.mean, *self.std, *(1 / one for one in self.std if one)]
        if not len(self.mean) == len(self.std) == self.channels == sum(one > 0 for one in self.std):
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
        """One PIL image, turned as its EXIF data say, as the network takes it: float [channels, height, width]."""
        if not isinstance(image, Image.Image):
            told = f"a PIL image is prepared for the network, got {type(image).__name__}"
            raise SettingError(f"{told}: open it with PIL.Image.open, or call embed, which takes files and arrays too")
        return self.tensor([image])[0]

    def tensor(self, images: Sequence[Image.Image]) -> Tensor:
        """Convert to the right channels, scale, crop the centre or pad, normalise."""
        return self.normalize([self.look(*image.size).of(image) for image in map(upright, images)])

    def look(self, width: int, height: int) -> View:
        """All of an image, scaled."""
        (high, wide), left, upper = self.sides, 0, 0
        if self.fit == "crop":  # what is cut off anyway of a line of pixels would fill memory if it were scaled first
            left = max(0, width - SLENDER * height * math.ceil(wide / high)) // 2
            upper = max(0, height - SLENDER * width * math.ceil(high / wide)) // 2
        box = (left, upper, width - left, height - upper)
        size = self._scaled(width - 2 * left, height - 2 * upper)
        return View((width, height), box, size, self.channels, False, RESERVE, self.colour)

    def _scaled(self, width: int, height: int) -> tuple[int, int]:
        """Width and height to scale an image to: to cover what is wanted, to fit into it, or just that."""
        high, wide = self.sides
        if self.fit == "squash":
            return wide, high
        if self.fit == "crop":
            high, wide = high * self.resize // min(self.sides), wide * self.resize // min(self.sides)
        if (wide * height >= high * width) == (self.fit == "crop"):
            return wide, max(1, wide * height // width)
        return max(1, high * width // height), high

    def normalize(self, views: Sequence[Tensor]) -> Tensor:
        """Uint8 [channels, height, width] each → the centre of each as float, less the mean, by the deviation."""
        mean, std = (255 * torch.tensor(value).view(-1, 1, 1) for value in (self.mean, self.std))
        # In place: new memory for a batch takes as long as the arithmetic.
        return self.pixels(views).float().sub_(mean).div_(std)

    def pixels(self, views: Sequence[Tensor]) -> Tensor:
        """The centre of each view, uint8 [images, channels, height, width]."""
        return torch.stack([view if view.shape[1:] == self.sides else self._centred(view) for view in views])

    def _centred(self, view: Tensor) -> Tensor:
        """Cropped to what the network sees, and padded where it is smaller."""
        (high, wide), (height, width) = self.sides, view.shape[1:]
        if self.fit != "pad":  # as torchvision's center_crop, whose import takes as long as that of torch
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
    """The seed of one image of one step: whatever is drawn for it depends on nothing else."""
    return int.from_bytes(hashlib.blake2b(f"{seed}/{step}/{position}".encode(), digest_size=7).digest(), "big")


class Evenly:
    """The same for every image, whatever the seed: for evaluation and for filling the memory."""

    def __init__(self, preprocessing: Preprocessing) -> None:
        self.preprocessing = preprocessing

    def look(self, seed: int) -> Look:  # noqa: ARG002
        """All of it."""
        return self.preprocessing.look

    def __call__(self, views: Sequence[Tensor], seeds: Sequence[int]) -> Tensor:  # noqa: ARG002
        """Crop the centre of each image."""
        return self.preprocessing.normalize(views)


class Pixels(Evenly):
    """The same without the arithmetic, uint8 [images, channels, height, width]: for a network that does it itself."""

    def __call__(self, views: Sequence[Tensor], seeds: Sequence[int]) -> Tensor:  # noqa: ARG002
        """Crop the centre of each image."""
        return self.preprocessing.pixels(views)
