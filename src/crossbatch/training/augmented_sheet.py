"""What the network sees: training images as in evaluation, and beside each how training shows it."""

import torch
from PIL import Image
from torch import Tensor

from crossbatch.data.transforms import Preprocessing, Transform, image_seed
from crossbatch.training.run_parts import RunParts

IMAGES, VARIANTS, GAP = 8, 7, 2
SMALLEST = 64  # pixels a tile is wide, at least


def augmented_sheet(parts: RunParts) -> Image.Image:
    """A row an image, of different classes: at the left as in evaluation, then as training shows it, seven times."""
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
    """Ids of images of different classes, drawn at random; of each class the first that can be read."""
    part, reader = parts.data.train, parts.feed.reader
    classes = part.labels.unique()
    order = torch.randperm(len(classes), generator=torch.Generator().manual_seed(0))[:IMAGES]
    look, chosen = parts.feed.evenly.look(0), []
    for label in classes[order]:
        ids = part.ids[part.labels == label].tolist()
        chosen += next(([one] for one in ids if reader.see([one], [look])[0] is not None), [])
    return chosen


def _seen(parts: RunParts, transform: Transform, ids: list[int], variant: int) -> Tensor:
    seeds = [image_seed(parts.settings.seed, variant, number) for number in range(len(ids))]
    views = parts.feed.reader.see(ids, [transform.look(seed) for seed in seeds])
    return transform([view for view in views if view is not None], seeds)


def _pictures(images: Tensor, preprocessing: Preprocessing) -> list[Image.Image]:
    """Normalised images back as pictures."""
    mean, std = (torch.tensor(value).view(-1, 1, 1) for value in (preprocessing.mean, preprocessing.std))
    levels = ((images * std + mean) * 255).round().clamp(0, 255).to(torch.uint8)
    return [Image.fromarray(one.expand(3, -1, -1).permute(1, 2, 0).contiguous().numpy()) for one in levels]
