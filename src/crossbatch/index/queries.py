"""An image that somebody brings to search with: checked before it is decoded, and cut to its box."""

from typing import NamedTuple

from PIL import Image

from crossbatch.data.crops import SIDEWAYS, opaque, orientation, upright
from crossbatch.data.formats import opened
from crossbatch.data.image_files import reason_of
from crossbatch.errors import DataError, SettingError
from crossbatch.index.box import Box

PIXELS = 50_000_000  # that a query may have, which anybody may bring to a page
OWN_PIXELS = 170_000_000  # the same of one's own file; Pillow decodes little more
SIDE = 768  # pixels: what the shorter side of a JPEG's box keeps at least where it is decoded at a smaller scale


class TooManyPixelsError(SettingError):
    """An image whose pixels would fill the memory."""


class Query(NamedTuple):
    """What is searched for: the image or its part, as it is shown upright, and what the whole measures."""

    image: Image.Image
    width: int
    height: int
    box: Box | None


def read_query(
    content: bytes, box: str | None = None, pixels: int = PIXELS, size: tuple[int, int] | None = None
) -> Query:
    """Of the bytes of a file; `DataError` says why they are no image.

    `size`: width and height of what the file is a smaller copy of, which pixels of a box are of.
    """
    try:
        image = opened(content)
    except Image.DecompressionBombError:
        raise TooManyPixelsError(f"the image has more pixels than the {pixels:,} that are read") from None
    except Exception as error:  # decoders raise what they like
        raise _unreadable(error, content) from error
    with image:
        if image.width * image.height > pixels:
            told = f"the image has {image.width} × {image.height} pixels"
            raise TooManyPixelsError(f"{told}, more than the {pixels:,} that are read: make it smaller")
        width, height = image.size[::-1] if orientation(image) in SIDEWAYS else image.size
        width, height = size or (width, height)
        part = None if box is None else Box.parse(box, width, height)
        share = 1.0 if part is None else min(part.right - part.left, part.bottom - part.top)
        wanted = int(min(SIDE / share, max(width, height)))
        image.draft("RGB", (wanted, wanted))
        try:
            whole = opaque(upright(image))
        except Exception as error:  # decoders raise what they like
            raise _unreadable(error, content) from error
        return Query(whole if part is None else whole.crop(part.pixels(*whole.size)), width, height, part)


def _unreadable(error: Exception, content: bytes) -> DataError:
    return DataError(f"this cannot be read as an image: {reason_of(error, lambda: content[:512])}")
