"""Tests that near copies are found wherever they are among the other images."""

from pathlib import Path

import pytest
from PIL import Image

from crossbatch.data import near_copies
from crossbatch.data.image_files import FileImages


def test_near_copies_are_found_across_blocks_and_each_like_one_of_its_group(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first of six images is like the last, two blocks later. An image without contrast is like no other."""
    monkeypatch.setattr(near_copies, "ROWS", 2)
    smooth = Image.effect_mandelbrot((200, 200), (-2, -1.5, 1, 1.5), 50)
    turns = {0: 0, 1: 40, 2: 80, 4: 120, 5: 0}
    paths = [tmp_path / f"{number}.png" for number in range(6)]
    for number, path in enumerate(paths):
        shown = smooth.rotate(turns[number], fillcolor=90) if number in turns else Image.new("L", (200, 200), 90)
        shown.resize((60 + 10 * number,) * 2).save(path)
    assert near_copies.near_copies(FileImages(paths, tmp_path)) == [[0, 5]]
