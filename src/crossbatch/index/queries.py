"""A query image from a person: checked before it is decoded, and cut to its box."""

from typing import NamedTuple

from PIL import Image

from crossbatch.data.crops import SIDEWAYS, opaque, orientation, upright
from crossbatch.data.formats import opened
from crossbatch.data.image_files import reason_of
from crossbatch.errors import DataError, SettingError
from crossbatch.index.box import Box

PIXELS = 50_000_000  # most pixels of an upload, which may come from anybody
OWN_PIXELS = 170_000_000  # most pixels of a file on the command line; Pillow's own limit is little higher
SIDE = 768  # pixels: a JPEG may be decoded at a smaller scale while the shorter side of its box keeps this many


class TooManyPixelsError(SettingError):
    """An image with more pixels than the limit."""


class Query(NamedTuple):
    """A decoded query: the upright image, cut to its box if there is one; width and height are those of the whole."""

    image: Image.Image
    width: int
    height: int
    box: Box | None


def read_query(
    content: bytes, box: str | None = None, pixels: int = PIXELS, size: tuple[int, int] | None = None
) -> Query:
    """Decode a query from the bytes of a file; `DataError` if they are no image.

    `size`: width and height that pixels of a box refer to, if the file is a smaller copy of the image.
    """
    try:
        image = opened(content)
    except Image.DecompressionBombError:
        raise TooManyPixelsError(f"the image has more pixels than the {pixels:,} that are read") from None
    except Exception as error:  # decoders raise errors of any kind
        raise _unreadable(error, content) from error
    with image:
        if image.width * image.height > pixels:
            problem = f"the image has {image.width} × {image.height} pixels"
            raise TooManyPixelsError(f"{problem}, more than the {pixels:,} that are read: make it smaller")
        width, height = image.size[::-1] if orientation(image) in SIDEWAYS else image.size
        width, height = size or (width, height)
        part = None if box is None else Box.parse(box, width, height)
        share = 1.0 if part is None else min(part.right - part.left, part.bottom - part.top)
        wanted = int(min(SIDE / share, max(width, height)))
        image.draft("RGB", (wanted, wanted))
        try:
            whole = opaque(upright(image))
        except Exception as error:  # decoders raise errors of any kind
            raise _unreadable(error, content) from error
        return Query(whole if part is None else whole.crop(part.pixels(*whole.size)), width, height, part)


def _unreadable(error: Exception, content: bytes) -> DataError:
    return DataError(f"this cannot be read as an image: {reason_of(error, lambda: content[:512])}")
