"""Original files of images, read only if they lie below their root and have the content that was indexed."""

import os
import stat
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

from crossbatch.data.crops import opaque, upright
from crossbatch.data.formats import opened
from crossbatch.index.description import Root
from crossbatch.index.indexing import digest_of

LARGEST = 64 * 2**20  # most bytes of a file that is read
PIXELS = 50_000_000  # most pixels of an image that is sent unchanged
SHOWN = 2048  # pixels: longest side of a converted image
BROWSERS = {"JPEG": "image/jpeg", "PNG": "image/png", "WEBP": "image/webp", "GIF": "image/gif"}


class Picture(NamedTuple):
    """A file to send: its bytes, its media type, and its kind: "original", "converted" or "thumbnail"."""

    content: bytes
    type: str
    kind: str


def original(gallery: Path, root: Root, file: bytes, digest: str) -> bytes | None:
    """The bytes of a file below a root of a gallery; None if it is gone, has another digest, or lies outside the root.

    Links are followed; their targets must lie below the root too.
    """
    contents = (_content(place, file) for place in root.places(gallery))
    return next((content for content in contents if content and digest_of(content) == digest), None)


def _content(place: Path, file: bytes) -> bytes | None:
    path = os.path.realpath(os.path.join(os.fsencode(place), file))  # noqa: PTH118  (a name need not be UTF-8)
    if not path.startswith(os.path.join(os.fsencode(os.path.realpath(place)), b"")):  # noqa: PTH118
        return None
    try:
        # The file may have been replaced by a link or a pipe: do not follow the one, do not wait for the other.
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with open(handle, "rb") as opened:  # noqa: PTH123
            content = opened.read(LARGEST + 1) if stat.S_ISREG(os.fstat(handle).st_mode) else b""
    except OSError:
        return None
    return content if len(content) <= LARGEST else None


def to_show(content: bytes) -> Picture | None:
    """A picture that browsers can show, converted if its format or size requires it; None if it cannot be decoded."""
    try:
        with opened(content) as image:
            if image.format in BROWSERS and image.width * image.height <= PIXELS:
                return Picture(content, BROWSERS[image.format], "original")
            if image.width * image.height > 4 * PIXELS:
                return None
            image.draft("RGB", (SHOWN, SHOWN))
            shown = opaque(upright(image))
            shown.thumbnail((SHOWN, SHOWN), reducing_gap=2.0)
            file = BytesIO()
            shown.save(file, "JPEG", quality=85)
            return Picture(file.getvalue(), "image/jpeg", "converted")
    except Exception:  # decoders raise errors of any kind
        return None
