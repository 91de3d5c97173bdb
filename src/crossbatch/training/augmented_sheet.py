"""The sheet of augmented images: training images as in evaluation, and beside each some augmentations of it."""

import torch
from PIL import Image
from torch import Tensor

from crossbatch.data.transforms import Preprocessing, Transform, image_seed
from crossbatch.training.run_parts import RunParts

IMAGES, VARIANTS, GAP = 8, 7, 2
SMALLEST = 64  # least width of a tile in pixels


def augmented_sheet(parts: RunParts) -> Image.Image:
    """Draw one row for each of some images of different classes: as in evaluation, then `VARIANTS` augmentations."""
    chosen = _one_a_class(parts)
    columns = [_seen(parts, parts.feed.evenly, chosen, 0)]
    columns += [_seen(parts, parts.feed.augmentation, chosen, variant) for variant in range(VARIANTS)]
    preprocessing = parts.feed.evenly.preprocessing
    high, wide = preprocessing.sides
    factor = max(1, -(-SMALLEST // wide))
    size = (wide * factor, high * factor)
    step = (size[0] + GAP, size[1] + GAP)
    sheet = Image.new("RGB", (len(columns) * step[0] + GAP, len(chosen) * step[1] + GAP), "#808080")
    for column, images in enumerate(columns):
        for row, image in enumerate(_pictures(images, preprocessing)):
            tile = image.resize(size, Image.Resampling.NEAREST)
            sheet.paste(tile, (GAP + column * step[0], GAP + row * step[1]))
    return sheet


def _one_a_class(parts: RunParts) -> list[int]:
    """Ids of images of randomly drawn classes, one of each class: its first image that can be read."""
    part, reader = parts.data.train, parts.feed.reader
    classes = part.labels.unique()
    order = torch.randperm(len(classes), generator=torch.Generator().manual_seed(0))[:IMAGES]
    look, chosen = parts.feed.evenly.look(0), []
    for label in classes[order]:
        ids = part.ids[part.labels == label].tolist()
        chosen += next(([image] for image in ids if reader.see([image], [look])[0] is not None), [])
    return chosen


def _seen(parts: RunParts, transform: Transform, ids: list[int], variant: int) -> Tensor:
    seeds = [image_seed(parts.settings.seed, variant, number) for number in range(len(ids))]
    views = parts.feed.reader.see(ids, [transform.look(seed) for seed in seeds])
    return transform([view for view in views if view is not None], seeds)


def _pictures(images: Tensor, preprocessing: Preprocessing) -> list[Image.Image]:
    """Undo the normalisation of images [images, channels, height, width], and make pictures of them."""
    mean, std = (torch.tensor(value).view(-1, 1, 1) for value in (preprocessing.mean, preprocessing.std))
    levels = ((images * std + mean) * 255).round().clamp(0, 255).to(torch.uint8)
    return [Image.fromarray(image.expand(3, -1, -1).permute(1, 2, 0).contiguous().numpy()) for image in levels]
