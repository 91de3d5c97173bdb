"""A small picture of an image, to be kept in the gallery."""

from io import BytesIO

from PIL import Image

from crossbatch.data.crops import SIDEWAYS, opaque, orientation, upright

SIDE, TINY = 256, 64  # pixels: the longest side of a thumbnail; an image up to this is kept as it is
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
        shown.thumbnail((SIDE, SIDE), reducing_gap=2.0)
        shown.save(file, "JPEG", quality=QUALITY)
    return file.getvalue(), *size
