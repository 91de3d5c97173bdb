"""A small picture of an image, to be kept in the gallery."""

from io import BytesIO

from PIL import Image

from crossbatch.data.crops import SIDEWAYS, opaque, orientation, upright

SIDE, TINY = 256, 64  # pixels: the longest side of a thumbnail; an image up to this is kept as it is
SHORTEST, LONGEST = 128, 1024  # pixels of the sides of one that is far from square, which else were a sliver
QUALITY = 80


def media_type(picture: bytes) -> str:
    """Of a thumbnail."""
    return "image/png" if picture[:4] == b"\x89PNG" else "image/jpeg"


def thumbnail(image: Image.Image) -> tuple[bytes, int, int]:
    """A JPEG file of an opened image, PNG where it is tiny; and width and height of the upright image."""
    size = image.size[::-1] if orientation(image) in SIDEWAYS else image.size
    if image.format in ("JPEG", "MPO"):
        image.draft("RGB", (2 * SIDE, 2 * SIDE))  # decoded no larger than it takes
        shown = opaque(upright(image))
    else:
        shown = opaque(upright(image))
        size = shown.size
    file = BytesIO()
    if max(size) <= TINY:
        shown.save(file, "PNG")
    else:
        shown.thumbnail(_bounds(*shown.size), reducing_gap=2.0)
        shown.save(file, "JPEG", quality=QUALITY)
    return file.getvalue(), *size


def _bounds(width: int, height: int) -> tuple[int, int]:
    """Width and height that a thumbnail has at most."""
    long, short = max(width, height), min(width, height)
    factor = max(SIDE / long, min(SHORTEST / short, LONGEST / long))
    return max(1, round(width * factor)), max(1, round(height * factor))
