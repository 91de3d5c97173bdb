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
SCAN = re.compile(rb"\xff\xda\0[\x08\x0a\x0c\x0e][\x01-\x04]")  # the header of one, which other data hardly have
TEXT = re.compile(rb"P[123]\s")  # PPM as text, which Pillow reads sign by sign
HEADER = re.compile(rb"P(4|[56](\s|#[^\r\n]*[\r\n])+\d+)((\s|#[^\r\n]*[\r\n])+\d+){2}\s")  # of a binary one: so too
LONGEST_HEADER = 65_536  # bytes


def opened(content: bytes) -> Image.Image:
    """An image file, its header read; refuses what would take seconds or gigabytes to decode, however small it is."""
    if is_endless(content):
        raise ValueError(f"it is a JPEG of more than {SCANS} scans: save it anew")
    if TEXT.match(content) or (content[:2] in (b"P4", b"P5", b"P6") and not HEADER.match(content[:LONGEST_HEADER])):
        raise ValueError("it is a PPM as text, or its header has no end: save it as PNG")
    image = Image.open(BytesIO(content), formats=available())
    if image.format == "TIFF":
        tags = image.tag_v2  # type: ignore[attr-defined]
        tile = int(tags.get(TILE_WIDTH) or 0) * int(tags.get(TILE_LENGTH) or 0)
        if tile > max(LARGEST_TILE, 4 * image.width * image.height):
            raise ValueError(f"it is a TIFF with tiles of {tile:,} pixels: save it anew")
    return image


def is_endless(content: bytes) -> bool:
    """Whether it is a JPEG file of more scans than anybody writes."""
    jpeg = content.startswith(b"\xff\xd8") and content.count(b"\xff\xda") > SCANS  # counted fast, and rarely so many
    return jpeg and len(SCAN.findall(content)) > SCANS


def available() -> list[str]:
    """Those that Pillow has here; whoever opens a file names them, whatever the file is called."""
    Image.init()
    return [name for name in FORMATS if name in Image.OPEN]
