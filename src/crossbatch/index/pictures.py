"""The file of an image, if it still lies below its root and has the content that was indexed."""

import os
import stat
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

from crossbatch.data.crops import opaque, upright
from crossbatch.data.formats import opened
from crossbatch.index.description import Root
from crossbatch.index.indexing import digest_of

LARGEST = 64 * 2**20  # bytes of a file that is read to be shown
PIXELS = 50_000_000  # of an image that is shown as it is
SHOWN = 2048  # pixels: the longest side of one that is not
BROWSERS = {"JPEG": "image/jpeg", "PNG": "image/png", "WEBP": "image/webp", "GIF": "image/gif"}


class Picture(NamedTuple):
    """A file to send: its bytes, its type, and whether it is the original, converted, or the thumbnail."""

    content: bytes
    type: str
    kind: str


def original(gallery: Path, root: Root, file: bytes, digest: str) -> bytes | None:
    """The bytes of a file below a root of a gallery; None where it is gone, is another now, or lies elsewhere.

    Links are followed, and what they lead to must lie below the root too.
    """
    found = (_content(place, file) for place in root.places(gallery))
    return next((content for content in found if content and digest_of(content) == digest), None)


def _content(place: Path, file: bytes) -> bytes | None:
    path = os.path.realpath(os.path.join(os.fsencode(place), file))  # noqa: PTH118  (a name may be no UTF-8)
    if not path.startswith(os.fsencode(os.path.realpath(place)) + b"/"):
        return None
    try:
        # What was a file may be a link or a pipe by now: neither is followed or waited for.
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with open(handle, "rb") as opened:  # noqa: PTH123
            content = opened.read(LARGEST + 1) if stat.S_ISREG(os.fstat(handle).st_mode) else b""
    except OSError:
        return None
    return content if len(content) <= LARGEST else None


def to_show(content: bytes) -> Picture | None:
    """A file as browsers show it; converted where it is of another format, or enormous."""
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
    except Exception:  # decoders raise what they like
        return None
