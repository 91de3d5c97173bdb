"""From images to the tensor that a network takes, evenly for evaluation, at random for training."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock
from typing import Any, Protocol, runtime_checkable

import torch
from PIL import Image, ImageColor
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample
from torchvision.transforms import v2

from crossbatch.data.crops import Colour, Look, View
from crossbatch.errors import SettingError

RESERVE = 2.0  # for evaluation, as in Pillow's thumbnails: the last reduction by half is left to the resizing
_drawing = Lock()


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

    `size`: side of the square in pixels; `resize`: length of the short side before the crop; `background`: the colour,
    by name or as #rrggbb, that shows where an image is transparent.
    """

    size: int
    resize: int
    channels: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    background: str = "white"

    @classmethod
    def restore(cls, plain: Mapping[str, Any]) -> "Preprocessing":
        """From the fields as JSON keeps them, lists for tuples."""
        mean, std = tuple(plain["mean"]), tuple(plain["std"])
        background = plain.get("background", "white")  # models of before there was a choice do not say
        return cls(plain["size"], plain["resize"], plain["channels"], mean, std, background)

    @property
    def colour(self) -> Colour:
        """The background as red, green and blue."""
        return background_colour(self.background)

    def tensor(self, images: Sequence[Image.Image]) -> Tensor:
        """Convert to the right channels, scale the short side, crop the centre, normalise."""
        return self.normalize([self.look(*image.size).of(image) for image in images])

    def look(self, width: int, height: int) -> View:
        """All of an image, the short side scaled."""
        short = min(width, height)
        size = (self.resize * width // short, self.resize * height // short)
        return View(
            (width, height), (0, 0, width, height), size, self.channels, reserve=RESERVE, background=self.colour
        )

    def normalize(self, views: Sequence[Tensor]) -> Tensor:
        """Uint8 [channels, height, width] each → the centre of each as float, less the mean, by the deviation."""
        square = [self.size, self.size]
        pixels = torch.stack(
            [view if view.shape[1:] == (*square,) else v2.functional.center_crop(view, square) for view in views]
        )
        mean, std = (255 * torch.tensor(value).view(-1, 1, 1) for value in (self.mean, self.std))
        return pixels.float().sub_(mean).div_(std)  # in place: new memory for a batch takes as long as the arithmetic


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


class PhotoAugmentation:
    """Random resized crop and horizontal flip, as in the paper: scale 0.2 to 1.

    torchvision draws the crop, knowing the size of the image and not its pixels, so that only then they are decoded.
    """

    def __init__(self, preprocessing: Preprocessing) -> None:
        self.preprocessing = preprocessing
        self.crop = v2.RandomResizedCrop(preprocessing.size, scale=(0.2, 1.0))

    def look(self, seed: int) -> Look:
        """A crop, perhaps mirrored."""

        def draw(width: int, height: int) -> View:
            with seeded(seed):
                drawn = self.crop.make_params([torch.empty(0, height, width)])
                mirrored = bool(torch.rand(1) < 0.5)
            left, upper = drawn["left"], drawn["top"]
            box = (left, upper, left + drawn["width"], upper + drawn["height"])
            size = (self.preprocessing.size, self.preprocessing.size)
            wanted = self.preprocessing
            return View((width, height), box, size, wanted.channels, mirrored, background=wanted.colour)

        return draw

    def __call__(self, views: Sequence[Tensor], seeds: Sequence[int]) -> Tensor:  # noqa: ARG002
        """Normalise the crops."""
        return self.preprocessing.normalize(views)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Draw from torch's own generator under a seed, one thread at a time, and leave it as it was."""
    with _drawing, torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would seed every GPU as well
        yield


class GlyphAugmentation:
    """A small random shift, turn, scale and shear: a character must stay the same character."""

    shift, turn, scale, shear = 0.1, 0.15, 0.15, 0.15  # share of the side; radians; factor − 1; tangent

    def __init__(self, preprocessing: Preprocessing) -> None:
        self.preprocessing = preprocessing

    def look(self, seed: int) -> Look:  # noqa: ARG002
        """All of it."""
        return self.preprocessing.look

    def __call__(self, views: Sequence[Tensor], seeds: Sequence[int]) -> Tensor:
        """Move each image under its own seed, all in one resampling."""
        pixels = self.preprocessing.normalize(views)
        draws = torch.stack([torch.rand(6, generator=torch.Generator().manual_seed(seed)) for seed in seeds])
        x, y, turn, wide, high, shear = (draws * 2 - 1).unbind(1)
        turn, shear = turn * self.turn, shear * self.shear
        wide, high = 1 + wide * self.scale, 1 + high * self.scale
        cos, sin = turn.cos(), turn.sin()
        rows = [
            torch.stack([wide * cos, wide * (shear * cos - sin), 2 * self.shift * x], 1),
            torch.stack([high * sin, high * (shear * sin + cos), 2 * self.shift * y], 1),
        ]
        grid = affine_grid(torch.stack(rows, 1), list(pixels.shape), align_corners=False)
        background = pixels[:, :, :1, :1]
        return grid_sample(pixels - background, grid, mode="bilinear", align_corners=False) + background
