"""A picture of a data set: some classes, one row each, with the name and some images of the class."""

from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

import torch
from PIL import Image, ImageDraw, ImageFont, ImageOps

from crossbatch.data.data_set import DataSet
from crossbatch.errors import DataError

CLASSES, IMAGES, TILE, GAP = 16, 12, 64, 2
NAME, LETTER = 220, 13  # pixels: the longest name, and the height of its letters
SLENDER = 8  # largest aspect ratio shown: of a longer image only the middle is shown


def contact_sheet(loaded: DataSet) -> Image.Image:
    """Draw random classes of the training part, each with its first images; an unreadable image leaves a gap."""
    part = loaded.train
    classes = part.labels.unique()
    order = torch.randperm(len(classes), generator=torch.Generator().manual_seed(0))[:CLASSES]
    rows = {label: part.ids[part.labels == label][:IMAGES].tolist() for label in classes[order.sort().values].tolist()}
    font = _font("".join(loaded.class_names[label] for label in rows))
    names = [_shortened(loaded.class_names[label], font) for label in rows]
    left = 4 * GAP + max((round(font.getlength(name)) for name in names), default=0)
    step, widest = TILE + GAP, max(map(len, rows.values()), default=0)
    sheet = Image.new("RGB", (left + widest * step + GAP, len(rows) * step + GAP), "#808080")
    draw = ImageDraw.Draw(sheet)
    for row, (name, images) in enumerate(zip(names, rows.values(), strict=True)):
        draw.text((2 * GAP, GAP + row * step + TILE // 2), name, "black", font, "lm")
        for column, image in enumerate(images):
            try:
                tile = _tile(loaded.images.read(image))
            except DataError:
                continue
            across, down = (TILE - tile.width) // 2, (TILE - tile.height) // 2
            sheet.paste(tile, (left + GAP + column * step + across, GAP + row * step + down))
    return sheet


def _tile(image: Image.Image) -> Image.Image:
    """Scale an image to fit into a tile; small images are enlarged without smoothing."""
    most = SLENDER * min(image.size)
    size = (min(image.width, most), min(image.height, most))
    across, down = (image.width - size[0]) // 2, (image.height - size[1]) // 2
    middle = image.convert("RGB").crop((across, down, across + size[0], down + size[1]))
    method = Image.Resampling.NEAREST if max(size) < TILE else Image.Resampling.LANCZOS
    return ImageOps.contain(middle, (TILE, TILE), method)


def _font(names: str) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """DejaVu Sans of matplotlib, which has most alphabets, or the font of this machine that has most of the characters.

    Without matplotlib it is Pillow's own.
    """
    if find_spec("matplotlib") is None:
        return ImageFont.load_default(LETTER)
    from matplotlib import font_manager, get_data_path  # noqa: PLC0415

    usual = Path(get_data_path()) / "fonts/ttf/DejaVuSans.ttf"
    others = sorted(map(Path, font_manager.findSystemFonts())) if _missing(names, usual) else []
    for font in sorted([usual, *others], key=lambda font: _missing(names, font)):
        with suppress(OSError):  # a font of bitmaps, such as of colour emoji, has no letters of this height
            return ImageFont.truetype(font, LETTER)
    return ImageFont.load_default(LETTER)


def _missing(names: str, font: Path) -> int:
    """How many of the characters a font lacks; all of them if it cannot be read."""
    from fontTools.ttLib import TTFont  # noqa: PLC0415

    try:
        with TTFont(font, fontNumber=0, lazy=True) as tables:
            return len({*map(ord, names)} - {*(tables.getBestCmap() or {})})
    except Exception:
        return len({*names})


def _shortened(name: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> str:
    """A name on one line, without its middle if it is too long."""
    whole = " ".join(name.split())
    kept, shown = len(whole), whole
    while font.getlength(shown) > NAME and kept > 2:
        kept -= 1
        shown = f"{whole[: (kept + 1) // 2]}…{whole[len(whole) - kept // 2 :]}"
    return shown
