"""Thumbnails, which a gallery keeps of its images."""

from io import BytesIO

from PIL import Image

from crossbatch.data.crops import SIDEWAYS, opaque, orientation, upright

SIDE, TINY = 256, 64  # pixels: the longest side of a thumbnail; images with sides up to TINY keep their size
SHORTEST, LONGEST = 128, 1024  # pixels: a long image keeps a shorter side of SHORTEST, as far as LONGEST allows
PREVIEW = 1024  # pixels: the longest side of a preview
QUALITY = 80


def media_type(picture: bytes) -> str:
    """The media type of a thumbnail."""
    return "image/png" if picture[:4] == b"\x89PNG" else "image/jpeg"


def thumbnail(image: Image.Image) -> tuple[bytes, int, int]:
    """The thumbnail of an opened image, as JPEG or, if tiny, PNG; and the width and height of the upright image."""
    size = image.size[::-1] if orientation(image) in SIDEWAYS else image.size
    if image.format in ("JPEG", "MPO"):
        image.draft("RGB", (2 * SIDE, 2 * SIDE))  # decode at a smaller scale
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


def preview(image: Image.Image) -> bytes:
    """A JPEG of an upright image, at most `PREVIEW` pixels long, for a browser that cannot show the file itself."""
    file = BytesIO()
    shown = image.convert("RGB")
    shown.thumbnail((PREVIEW, PREVIEW), reducing_gap=2.0)
    shown.save(file, "JPEG", quality=QUALITY)
    return file.getvalue()


def _bounds(width: int, height: int) -> tuple[int, int]:
    """The largest width and height of a thumbnail."""
    long, short = max(width, height), min(width, height)
    factor = max(SIDE / long, min(SHORTEST / short, LONGEST / long))
    return max(1, round(width * factor)), max(1, round(height * factor))
