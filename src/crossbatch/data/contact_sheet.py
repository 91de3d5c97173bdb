"""A picture of a data set: some classes, a row each, some of their images."""

import torch
from PIL import Image

from crossbatch.data.data_set import DataSet
from crossbatch.errors import DataError

CLASSES, IMAGES, TILE, GAP = 16, 12, 64, 2


def contact_sheet(loaded: DataSet) -> Image.Image:
    """Classes drawn at random from the training part; a row has first images of one, a gap what cannot be read."""
    part = loaded.train
    classes = part.labels.unique()
    order = torch.randperm(len(classes), generator=torch.Generator().manual_seed(0))[:CLASSES]
    step = TILE + GAP
    sheet = Image.new("RGB", (IMAGES * step + GAP, len(order) * step + GAP), "#808080")
    for row, label in enumerate(classes[order.sort().values].tolist()):
        for column, image in enumerate(part.ids[part.labels == label][:IMAGES].tolist()):
            try:
                tile = loaded.images.read(image).convert("RGB")
            except DataError:
                continue
            tile.thumbnail((TILE, TILE))
            if (loaded.image_size or TILE) < TILE:
                tile = tile.resize((TILE, TILE), Image.Resampling.NEAREST) if tile.width == tile.height else tile
            sheet.paste(tile, (GAP + column * step + (TILE - tile.width) // 2, GAP + row * step))
    return sheet
