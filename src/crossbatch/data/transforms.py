"""From images to the tensor that a network takes, evenly for evaluation, at random for training."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample
from torchvision.transforms import v2


@runtime_checkable
class Transform(Protocol):
    """Images and a seed for each → float [images, channels, size, size]."""

    def __call__(self, images: Sequence[Image.Image], seeds: Sequence[int]) -> Tensor:
        """Transform each image under its own seed."""


@dataclass(frozen=True)
class Preprocessing:
    """How a network wants its images; kept with the model.

    `size`: side of the square in pixels; `resize`: length of the short side before the crop.
    """

    size: int
    resize: int
    channels: int
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @classmethod
    def restore(cls, plain: Mapping[str, Any]) -> "Preprocessing":
        """From the fields as JSON keeps them, lists for tuples."""
        mean, std = tuple(plain["mean"]), tuple(plain["std"])
        return cls(plain["size"], plain["resize"], plain["channels"], mean, std)

    def tensor(self, images: Sequence[Image.Image]) -> Tensor:
        """Convert to the right channels, scale the short side, crop the centre, normalise."""
        crop = v2.Compose([v2.Resize(self.resize), v2.CenterCrop(self.size)])
        return self.normalize(torch.stack([v2.functional.pil_to_tensor(crop(self.colour(image))) for image in images]))

    def colour(self, image: Image.Image) -> Image.Image:
        """Grey for one channel, else RGB."""
        mode = "L" if self.channels == 1 else "RGB"
        return image if image.mode == mode else image.convert(mode)

    def normalize(self, pixels: Tensor) -> Tensor:
        """Uint8 [images, channels, height, width] → float, less the mean, by the standard deviation."""
        mean, std = (torch.tensor(value).view(1, -1, 1, 1) for value in (self.mean, self.std))
        return (pixels.float() / 255 - mean) / std


def image_seed(seed: int, step: int, position: int) -> int:
    """The seed of one image of one step: whatever is drawn for it depends on nothing else."""
    return int.from_bytes(hashlib.blake2b(f"{seed}/{step}/{position}".encode(), digest_size=7).digest(), "big")


class Evenly:
    """The same for every image, whatever the seed: for evaluation and for filling the memory."""

    def __init__(self, preprocessing: Preprocessing) -> None:
        self.preprocessing = preprocessing

    def __call__(self, images: Sequence[Image.Image], seeds: Sequence[int]) -> Tensor:  # noqa: ARG002
        """Preprocess each image."""
        return self.preprocessing.tensor(images)


class PhotoAugmentation:
    """Random resized crop and horizontal flip, as in the paper: scale 0.2 to 1."""

    def __init__(self, preprocessing: Preprocessing) -> None:
        self.preprocessing = preprocessing
        self.draw = v2.Compose(
            [
                v2.RandomResizedCrop(preprocessing.size, scale=(0.2, 1.0), antialias=True),
                v2.RandomHorizontalFlip(),
            ]
        )

    def __call__(self, images: Sequence[Image.Image], seeds: Sequence[int]) -> Tensor:
        """Crop and flip each image under its own seed."""
        drawn = []
        with torch.random.fork_rng(devices=[]):
            for image, seed in zip(images, seeds, strict=True):
                torch.default_generator.manual_seed(seed)  # torch.manual_seed would seed every GPU as well
                drawn.append(v2.functional.pil_to_tensor(self.draw(self.preprocessing.colour(image))))
        return self.preprocessing.normalize(torch.stack(drawn))


class GlyphAugmentation:
    """A small random shift, turn, scale and shear: a character must stay the same character."""

    shift, turn, scale, shear = 0.1, 0.15, 0.15, 0.15  # share of the side; radians; factor − 1; tangent

    def __init__(self, preprocessing: Preprocessing) -> None:
        self.preprocessing = preprocessing

    def __call__(self, images: Sequence[Image.Image], seeds: Sequence[int]) -> Tensor:
        """Move each image under its own seed, all in one resampling."""
        pixels = self.preprocessing.tensor(images)
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
