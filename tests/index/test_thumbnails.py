"""Tests of thumbnails: small, but large enough to see what they show."""

from io import BytesIO

import pytest
from PIL import Image

from crossbatch.index.thumbnails import LONGEST, SHORTEST, SIDE, thumbnail


@pytest.mark.parametrize(
    ("size", "kept"),
    [
        ((1000, 1000), (SIDE, SIDE)),
        ((1000, 500), (SIDE, SIDE // 2)),
        ((1280, 320), (512, SHORTEST)),
        ((4000, 400), (LONGEST, 102)),
        ((400, 4000), (102, LONGEST)),
        ((300, 3), (300, 3)),
        ((40, 8), (40, 8)),
    ],
)
def test_a_slender_picture_is_no_sliver(size: tuple[int, int], kept: tuple[int, int]) -> None:
    """The shorter side keeps some pixels within the bounds, and no picture is enlarged."""
    file = BytesIO()
    Image.new("RGB", size, "red").save(file, "JPEG")
    small, *whole = thumbnail(Image.open(file))
    assert tuple(whole) == size
    assert Image.open(BytesIO(small)).size == pytest.approx(kept, abs=4)
