"""Options that a user left open, decided once from the data: classes in a batch, augmentation, image size."""

import math
import statistics
from dataclasses import asdict, replace

import torch
from torch import Tensor

from crossbatch.data.augment import Augment
from crossbatch.data.batches import Reader
from crossbatch.data.crops import View
from crossbatch.data.data_set import DataSet
from crossbatch.data.transforms import sides_of
from crossbatch.errors import DataError
from crossbatch.models import backbones
from crossbatch.training.settings import ModelSettings, Settings

LOOKED_AT = 200  # training images that are examined
SIDE = 64  # height and width in pixels that they are scaled to
PLAIN = 12  # levels of 255 by which a plain pixel of the border differs from the border's median at most
BORDER = 0.9  # least share of plain pixels in a plain border
MOSTLY = 0.85  # least share of an image, the median, that is seen without a note
FLAT = 4  # levels by which the pixels of an image of one colour differ at most
GREY = 12  # levels by which the channels of a pixel without colour differ at most
COLOURLESS = 0.98  # least share of pixels without colour in an image without colour
MOST = 0.5  # share of such images above which the set is taken for characters or line drawings
LARGEST, SMALLEST = 64, 16  # bounds of the shorter side in pixels, for a network that takes any size
SLENDER = 16  # greatest ratio of the sides: longer images lose their ends
CLASSES = 16  # in a batch, where the training set has as many
ALIKE = 0.9  # least share of images of one aspect ratio, within a twentieth, for the network to see that ratio


def decide(settings: Settings, loaded: DataSet, reader: Reader | None = None) -> tuple[Settings, dict[str, str]]:
    """The settings with every open option decided, and the reasons by the name of the option."""
    reasons = {}
    if settings.batch.classes is None:
        with_positives = int((torch.bincount(loaded.train.labels) > 1).sum())
        settings = replace(settings, batch=replace(settings.batch, classes=max(1, min(CLASSES, with_positives))))
        if with_positives < CLASSES:
            reasons["batch.classes"] = f"there are {with_positives} training classes with two images"
    if settings.augment.policy == "auto" and loaded.policy != "auto":
        settings = replace(settings, augment=replace(settings.augment, policy=loaded.policy))
        reasons["augment.policy"] = f"it is what suits {loaded.name}"
    undecided = settings.augment.policy == "auto"
    any_size = settings.model.image_size is None and loaded.image_size is None
    any_size = any_size and backbones.image_settings(settings.model.backbone) is None
    if not undecided and not any_size:
        return settings, reasons
    sizes, pixels = _look(loaded, reader or Reader(loaded.images, settings.loop.on_corrupt))
    if undecided:
        augment, reasons["augment.policy"] = augment_for(pixels)
        chosen = {
            name: value for name, value in asdict(settings.augment).items() if name != "policy" and value is not None
        }
        settings = replace(settings, augment=replace(augment, **chosen))
    if settings.model.background == ModelSettings.background and (blank := blank_in(pixels)):
        some = f"{blank} of {len(pixels)} images looked at are of one colour"
        reasons["model.background"] = f"{some}: if they are light on transparent, --model.background black shows them"
    return _sized(settings, sizes, reasons) if any_size else settings, reasons


def _sized(settings: Settings, sizes: list[tuple[int, int]], reasons: dict[str, str]) -> Settings:
    """The settings with the image size decided; adds the reason, and a note if much of the images is not seen."""
    size, reasons["model.image_size"] = size_for(sizes)
    if settings.model.fit == "crop" and (seen := seen_of(sizes, size)) < MOSTLY:
        some = f"of the median image {seen:.0%} is seen, its middle"
        reasons["model.fit"] = f"{some}: --model.fit pad shows whole images, and squash stretches them"
    return replace(settings, model=replace(settings.model, image_size=size))


def seen_of(sizes: list[tuple[int, int]], size: int | str) -> float:
    """The share of an image that the network sees if its middle is cropped to `size`, height × width; the median."""
    sides = sides_of(size)
    high, wide = sides if isinstance(sides, tuple) else (1, 1)
    ratios = [(width / height) / (wide / high) for width, height in sizes]
    return statistics.median(min(ratio, 1 / ratio) for ratio in ratios)


def augment_for(pixels: Tensor) -> tuple[Augment, str]:
    """Choose the augmentation for images uint8 [images, channels, height, width], and say why.

    Images without colour on a plain background are taken for characters or line drawings, and are not mirrored:
    mirroring turns many characters into others, and cost glyphs 3 points of R@1. All other images gain by mirroring,
    photographs on white and emoji too.
    """
    border = torch.cat([pixels[:, :, 0], pixels[:, :, -1], pixels[:, :, 1:-1, 0], pixels[:, :, 1:-1, -1]], 2).short()
    median = border.median(2, keepdim=True).values
    plain = ((border - median).abs().amax(1) <= PLAIN).float().mean(1) >= BORDER
    colour = pixels.amax(1).short() - pixels.amin(1).short()
    grey = (colour <= GREY).float().flatten(1).mean(1) >= COLOURLESS
    count, images = int((plain & grey).sum()), len(plain)
    if count > MOST * images:
        reason = f"{count} of {images} images looked at are without colour on a plain background"
        return Augment("photo", mirror=0.0), f"{reason}, as characters and drawings, which a mirror may change"
    return Augment("photo"), f"{images - count} of {images} images looked at have colour or a busy background"


def blank_in(pixels: Tensor) -> int:
    """How many images uint8 [images, channels, height, width] are of one colour, within `FLAT` levels a channel."""
    flat = pixels.flatten(2)
    return int(((flat.amax(2).short() - flat.amin(2).short()).amax(1) <= FLAT).sum())


def size_for(sizes: list[tuple[int, int]]) -> tuple[int | str, str]:
    """Choose the image size for files of these widths and heights and a network that takes any size, and say why."""
    wide, high = (statistics.median(side) for side in zip(*sizes, strict=True))
    alike = sum(0.95 <= (width / height) / (wide / high) <= 1.05 for width, height in sizes) >= ALIKE * len(sizes)
    reason = f"the files are {wide:g}×{high:g} pixels (width × height, medians of {len(sizes)})"
    if min(wide, high) > LARGEST:
        reason += "; a larger --model.image_size shows more, and takes longer"
    small = min(max(min(wide, high), SMALLEST), LARGEST)
    if not alike:
        return round(small / 4) * 4, reason
    slender = min(max(wide, high) / min(wide, high), SLENDER)
    small = max(SMALLEST, min(small, LARGEST * math.sqrt(2 / slender)))  # at most the area of two largest squares
    short, long = round(small / 4) * 4, round(small * slender / 4) * 4
    if short == long:
        return short, reason
    return f"{short}x{long}" if wide > high else f"{long}x{short}", reason


def _look(loaded: DataSet, reader: Reader) -> tuple[list[tuple[int, int]], Tensor]:
    """Widths and heights of some training images, and the whole images scaled to `SIDE` × `SIDE` pixels."""
    sizes: list[tuple[int, int]] = []

    def look(width: int, height: int) -> View:
        sizes.append((width, height))
        return View((width, height), (0, 0, width, height), (SIDE, SIDE), loaded.channels)

    part = loaded.train
    order = torch.randperm(len(part), generator=torch.Generator().manual_seed(0))[:LOOKED_AT]
    seen = [view for view in reader.see(part.ids[order].tolist(), [look] * len(order)) if view is not None]
    if not seen:
        raise DataError(f"none of {len(order)} training images can be read")
    return sorted(sizes), torch.stack(seen)
