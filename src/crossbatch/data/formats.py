"""The image formats that are read, none of which runs a program as PostScript does; and opening a file."""

import re
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

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

SCANS = 200  # limit for a JPEG: a progressive one has about ten, and decoding each takes as long as the whole image
TILE_WIDTH, TILE_LENGTH = 322, 323  # TIFF tags
LARGEST_TILE = 2**22  # pixels: a tile is decoded whole, even if the image is smaller
SCAN = re.compile(rb"\xff\xda\0[\x08\x0a\x0c\x0e][\x01-\x04]")  # the header of a scan; other data rarely match it
# Pillow reads these one character at a time: the pixels of a PPM as text, and the header of a binary PPM.
TEXT = re.compile(rb"P[123]\s")
HEADER = re.compile(rb"P(4|[56](\s|#[^\r\n]*[\r\n])+\d+)((\s|#[^\r\n]*[\r\n])+\d+){2}\s")
LONGEST_HEADER = 65_536  # bytes


def opened(content: bytes) -> Image.Image:
    """Open an image file and read its header; the pixels are not decoded.

    Raises ValueError for a file, however small, that would take seconds or gigabytes to decode.
    """
    if is_endless(content):
        raise ValueError(f"it is a JPEG of more than {SCANS} scans: save it anew")
    return _with_header(content[:LONGEST_HEADER], BytesIO(content))


def check_header(path: Path | str) -> None:
    """Read the header of an image file and no more of it; raises as `opened`, which also counts the scans of a JPEG."""
    with open(path, "rb") as file:  # noqa: PTH123  (`path` may be a string)
        beginning = file.read(LONGEST_HEADER)
        file.seek(0)
        _with_header(beginning, file)


def _with_header(beginning: bytes, file: BinaryIO) -> Image.Image:
    if TEXT.match(beginning) or (beginning[:2] in (b"P4", b"P5", b"P6") and not HEADER.match(beginning)):
        raise ValueError("it is a PPM as text, or its header has no end: save it as PNG")
    image = Image.open(file, formats=available())
    if image.format == "TIFF":
        tags = image.tag_v2  # type: ignore[attr-defined]
        tile = int(tags.get(TILE_WIDTH) or 0) * int(tags.get(TILE_LENGTH) or 0)
        if tile > max(LARGEST_TILE, 4 * image.width * image.height):
            raise ValueError(f"it is a TIFF with tiles of {tile:,} pixels: save it anew")
    return image


def is_endless(content: bytes) -> bool:
    """Tell whether a file is a JPEG with more than `SCANS` scans."""
    jpeg = content.startswith(b"\xff\xd8") and content.count(b"\xff\xda") > SCANS  # fast, and seldom true
    return jpeg and len(SCAN.findall(content)) > SCANS


def available() -> list[str]:
    """The formats that this Pillow can read. Pass them to `Image.open`, which otherwise tries every format it has."""
    Image.init()
    return [name for name in FORMATS if name in Image.OPEN]
