"""Tests of image files that open, and of files that would take seconds or gigabytes to decode."""

from io import BytesIO
from pathlib import Path

import pytest
from galleries import of_tiles
from PIL import Image

from crossbatch.data.crops import View, see
from crossbatch.data.formats import SCANS, opened
from crossbatch.data.image_files import FileImages
from crossbatch.errors import UnreadableError


def saved(kind: str, **options: object) -> bytes:
    file = BytesIO()
    Image.radial_gradient("L").convert("RGB").save(file, kind, **options)
    return file.getvalue()


USUAL = {
    "a progressive JPEG": saved("JPEG", progressive=True),
    "a JPEG with other data behind it": saved("JPEG") + b"\xff\xda" * 1000,
    "a TIFF": saved("TIFF", compression="tiff_deflate"),
    "a TIFF of tiles": of_tiles(256),
    "a PPM": saved("PPM"),
    "a PPM with comments": saved("PPM").replace(b"P6\n", b"P6\n" + b"# made by hand\n" * 25 + b" " * 30),
    "a PGM": b"P5 256 256 255\n" + bytes(256 * 256),
    "a PBM": b"P4\n256 256\n" + bytes(32 * 256),
    "a PNG": saved("PNG"),
}
ENDLESS = {
    "scans": b"\xff\xd8" + b"\xff\xda\0\x08\x01" * (SCANS + 1),
    "tiles": of_tiles(26_624),
    "PPM as text": b"P3\n2 2\n255\n" + b"0 " * 12,
    "a long comment": b"P6\n#" + b"x" * 100_000 + b"\n2 2\n255\n" + bytes(12),
    "a long comment in the middle": b"P6\n2 #" + b"x" * 100_000 + b"\n2\n255\n" + bytes(12),
    "many blanks": b"P6\n2" + b" " * 100_000 + b"2\n255\n" + bytes(12),
}


@pytest.mark.parametrize("name", USUAL)
def test_usual_files_are_opened(name: str) -> None:
    assert opened(USUAL[name]).convert("RGB").size == (256, 256)


@pytest.mark.parametrize("name", ENDLESS)
def test_what_a_few_bytes_could_keep_busy_for_long_is_refused(name: str, tmp_path: Path) -> None:
    """They are refused wherever a file is read: for a search, for embedding and for training."""
    content = ENDLESS[name]
    with pytest.raises(ValueError, match="save it a"):
        opened(content)
    with pytest.raises(ValueError, match="save it a"):
        see(content, lambda wide, high: View((wide, high), (0, 0, wide, high), (8, 8)))
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(UnreadableError, match="save it a"):
        FileImages([tmp_path / "x"], tmp_path).read(0)
