"""The picture formats that are read, never one that runs a program as PostScript does; and opening a file of one."""

import re
from io import BytesIO

from PIL import Image

FORMATS = (
    "JPEG",
    "MPO",
    "PNG",
    "WEBP",
    "GIF",
    "BMP",
    "DIB",
    "TIFF",
    "AVIF",
    "HEIF",
    "JPEG2000",
    "PPM",
    "TGA",
)

SCANS = 200  # of a JPEG: a progressive one has about ten, and each takes as long as the whole picture
TILE_WIDTH, TILE_LENGTH = 322, 323  # tags of a TIFF
LARGEST_TILE = 2**22  # pixels: a picture may be smaller than its tile, which is decoded whole
TEXT = re.compile(rb"P[123]\s")  # PPM as text, which Pillow reads sign by sign
HEADER = re.compile(rb"P[4-6](\s|#[^\n]{0,1000}\n){1,20}\d")  # of a binary one: a comment is read sign by sign too


def opened(content: bytes) -> Image.Image:
    """An image file, its header read; refuses what would take seconds or gigabytes to decode, however small it is."""
    if content.startswith(b"\xff\xd8") and content.count(b"\xff\xda") > SCANS:
        raise ValueError(f"it is a JPEG of more than {SCANS} scans: save it anew")
    if TEXT.match(content) or (content[:2] in (b"P4", b"P5", b"P6") and not HEADER.match(content)):
        raise ValueError("it is a PPM as text, or with a long comment: save it as PNG")
    image = Image.open(BytesIO(content), formats=available())
    if image.format == "TIFF":
        tags = image.tag_v2  # type: ignore[attr-defined]
        tile = int(tags.get(TILE_WIDTH) or 0) * int(tags.get(TILE_LENGTH) or 0)
        if tile > max(LARGEST_TILE, 4 * image.width * image.height):
            raise ValueError(f"it is a TIFF with tiles of {tile:,} pixels: save it anew")
    return image


def available() -> list[str]:
    """Those that Pillow has here; whoever opens a file names them, whatever the file is called."""
    Image.init()
    return [name for name in FORMATS if name in Image.OPEN]
