"""Training images, each changed at random under its own seed."""

import math
from collections.abc import Sequence
from dataclasses import replace
from random import Random

import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample
from torchvision.transforms import v2

from crossbatch.data.augment import Amounts
from crossbatch.data.crops import Look, View
from crossbatch.data.transforms import LUMA, Preprocessing

DRAWS = 16  # numbers drawn for an image
PIVOT = 0.5  # contrast changes around mid-range; each image's mean would take one more pass over its pixels
PIECE = 4  # images coloured at once; more do not fit into the cache, which took 1.5 times as long
BLURRED = (0.5, 2.0)  # standard deviation in pixels, from and to
ERASED = (0.02, 0.25)  # share of the image, from and to


class Augmentation:
    """Crop and mirror, then colour, then shift, turn, zoom and shear, then blur and erase, each by `amounts`.

    The crop depends on the size of the image and not on its pixels, so that only the crop need be decoded. All changes
    of colour are one matrix per image, applied with the normalisation. All motion is one resampling.
    """

    def __init__(self, preprocessing: Preprocessing, amounts: Amounts) -> None:
        self.preprocessing, self.amounts = preprocessing, amounts

    def look(self, seed: int) -> Look:
        """The look that shows a random crop, or the whole image; perhaps mirrored."""
        wanted, amounts = self.preprocessing, self.amounts
        if amounts.crop == 1 and not amounts.mirror:
            return wanted.look

        def draw(width: int, height: int) -> View:
            rng = Random(seed)  # noqa: S311  (no secret)
            box = (0, 0, width, height) if amounts.crop == 1 else _crop(rng, width, height, wanted, amounts)
            mirrored = rng.random() < amounts.mirror
            if amounts.crop == 1:
                return replace(wanted.look(width, height), mirrored=mirrored)
            size = wanted.sides[::-1]
            return View((width, height), box, size, wanted.channels, mirrored, background=wanted.colour)

        return draw

    def __call__(self, views: Sequence[Tensor], seeds: Sequence[int]) -> Tensor:
        """Change each image under its own seed."""
        draws = torch.stack([torch.rand(DRAWS, generator=torch.Generator().manual_seed(seed)) for seed in seeds])
        amounts = self.amounts
        if amounts.colour or (amounts.grey and self.preprocessing.channels > 1):
            pixels = self._coloured(self.preprocessing.pixels(views), draws[:, 6:10])
        else:
            pixels = self.preprocessing.normalize(views)
        if amounts.shift or amounts.rotation or amounts.zoom or amounts.shear:
            pixels = _moved(pixels, draws[:, :6] * 2 - 1, amounts)
        if amounts.blur:
            for number in (draws[:, 10] < amounts.blur).nonzero()[:, 0].tolist():
                pixels[number] = _blurred(pixels[number], float(draws[number, 11]))
        if amounts.erase:
            for number in (draws[:, 12] < amounts.erase).nonzero()[:, 0].tolist():
                _erase(pixels[number], draws[number, 12] / amounts.erase, draws[number, 13:16])
        return pixels

    def _coloured(self, pixels: Tensor, draws: Tensor) -> Tensor:
        """Brightness, contrast, saturation or grey, and the normalisation, of uint8 [images, channels, …]."""
        channels, most = self.preprocessing.channels, self.amounts.colour
        mean, std = (torch.tensor(value).view(-1, 1) for value in (self.preprocessing.mean, self.preprocessing.std))
        bright, contrast, saturation = (1 + (draws[:, :3, None, None] * 2 - 1) * most).unbind(1)
        matrix = torch.eye(channels)
        if channels == len(LUMA):
            saturation = torch.where(draws[:, 3:, None] < self.amounts.grey, 0, saturation)
            luma = torch.tensor(LUMA).expand(3, 3)
            matrix = saturation * matrix + (1 - saturation) * luma
        matrix = bright * contrast * matrix / std / 255
        offset = (PIVOT * (1 - contrast) - mean) / std
        coloured = torch.empty(len(pixels), channels, pixels[0, 0].numel())
        for first in range(0, len(pixels), PIECE):
            piece = slice(first, first + PIECE)
            flat = pixels[piece].float().flatten(2)
            torch.baddbmm(offset[piece], matrix[piece], flat, out=coloured[piece])
        return coloured.view(pixels.shape)


def _crop(lot: Random, width: int, height: int, wanted: Preprocessing, amounts: Amounts) -> tuple[int, int, int, int]:
    """A box of random area and aspect ratio; if ten boxes do not fit, the largest central box of an allowed ratio.

    The distribution is that of torchvision's RandomResizedCrop. That class draws from one generator for all threads;
    seeding it for each image took a third of the time of reading small files.
    """
    shape, most = wanted.sides[1] / wanted.sides[0], math.log(amounts.crop_ratio)
    for _ in range(10):
        area = width * height * lot.uniform(amounts.crop, 1)
        drawn = shape * math.exp(lot.uniform(-most, most))
        wide, high = round(math.sqrt(area * drawn)), round(math.sqrt(area / drawn))
        if 0 < wide <= width and 0 < high <= height:
            left, upper = lot.randint(0, width - wide), lot.randint(0, height - high)
            return left, upper, left + wide, upper + high
    allowed = min(max(width / height, shape * math.exp(-most)), shape * math.exp(most))
    wide, high = min(width, max(1, round(height * allowed))), min(height, max(1, round(width / allowed)))
    left, upper = (width - wide) // 2, (height - high) // 2
    return left, upper, left + wide, upper + high


def _moved(pixels: Tensor, draws: Tensor, amounts: Amounts) -> Tensor:
    """Shift, turn, zoom and shear images in one resampling; `draws` [images, 6] lie in −1 … 1.

    Uncovered borders take the colour of the upper left pixel.
    """
    x, y, turn, wide, high, shear = draws.unbind(1)
    turn, shear = turn * math.radians(amounts.rotation), shear * amounts.shear
    wide, high = 1 + wide * amounts.zoom, 1 + high * amounts.zoom
    cos, sin = turn.cos(), turn.sin()
    rows = [
        torch.stack([wide * cos, wide * (shear * cos - sin), 2 * amounts.shift * x], 1),
        torch.stack([high * sin, high * (shear * sin + cos), 2 * amounts.shift * y], 1),
    ]
    grid = affine_grid(torch.stack(rows, 1), list(pixels.shape), align_corners=False)
    background = pixels[:, :, :1, :1]
    return grid_sample(pixels - background, grid, mode="bilinear", align_corners=False) + background


def _blurred(image: Tensor, draw: float) -> Tensor:
    sigma = BLURRED[0] + draw * (BLURRED[1] - BLURRED[0])
    side = min(2 * math.ceil(2 * sigma) + 1, 2 * (min(image.shape[1:]) // 2) - 1)
    blurred: Tensor = v2.functional.gaussian_blur(image, [side, side], [sigma, sigma]) if side > 1 else image
    return blurred


def _erase(image: Tensor, size: Tensor, draws: Tensor) -> None:
    """Paint a rectangle of normalised pixels over with 0, the mean of the normalisation, in place."""
    share = float(ERASED[0] + size * (ERASED[1] - ERASED[0]))
    ratio, down, right = draws.tolist()
    shape = math.exp((2 * ratio - 1) * math.log(3))  # height / width, from 1/3 to 3
    high, wide = (min(1.0, math.sqrt(share * part)) for part in (shape, 1 / shape))
    height, width = image.shape[1:]
    top, left = down * (1 - high) * height, right * (1 - wide) * width
    image[:, round(top) : round(top + high * height), round(left) : round(left + wide * width)] = 0
