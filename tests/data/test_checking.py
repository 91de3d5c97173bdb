"""Tests that files are checked before the first step, reported together, and checked again only if they changed."""

import os
from pathlib import Path

import pytest
from PIL import Image

from crossbatch.data import checking, folder
from crossbatch.data.checking import refuse_unreadable, unreadable, without_unreadable
from crossbatch.data.image_files import FileImages
from crossbatch.errors import DataError


@pytest.fixture
def images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FileImages:
    """Six pictures. The second file is empty, the third is text, and the fourth is cut short."""
    monkeypatch.setenv("CROSSBATCH_CACHE", str(tmp_path / "cache"))
    paths = [tmp_path / "photos" / f"{number}.png" for number in range(6)]
    paths[0].parent.mkdir()
    for number, path in enumerate(paths):
        Image.effect_noise((64, 64), 40 + number).save(path)
    paths[1].write_bytes(b"")
    paths[2].write_text("<html>")
    paths[3].write_bytes(paths[3].read_bytes()[:1000])
    return FileImages(paths, tmp_path / "photos")


def test_headers_find_some_and_decoding_finds_all(images: FileImages) -> None:
    assert list(unreadable(images, "header")) == [1, 2]
    found = unreadable(images, "decode")
    assert list(found) == [1, 2, 3]
    assert "1.png (the file is empty)" in found[1]
    assert "2.png (it is text)" in found[2]
    assert "(the file is incomplete: its end is missing)" in found[3]


def test_a_header_that_takes_seconds_to_read_is_refused_by_the_check(images: FileImages) -> None:
    images.paths[4].write_bytes(b"P6\n#" + b"x" * 100_000 + b"\n8 8\n255\n" + bytes(192))
    assert "its header has no end" in unreadable(images, "header")[4]


def test_what_has_not_changed_is_not_read_again(images: FileImages, monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[int] = []
    problem = checking._problem
    monkeypatch.setattr(checking, "_problem", lambda images, n, how: looked.append(n) or problem(images, n, how))
    first = unreadable(images, "header")
    assert looked == [0, 1, 2, 3, 4, 5]
    assert unreadable(images, "header") == first
    assert looked == [0, 1, 2, 3, 4, 5]
    Image.new("L", (3, 3)).save(images.paths[1])
    assert list(unreadable(images, "header")) == [2]
    assert looked[6:] == [1]
    unreadable(images, "decode")
    unreadable(images, "header")  # the result of decoding also answers for the header
    assert looked[7:] == [0, 1, 2, 3, 4, 5]


def test_a_file_that_was_written_anew_in_the_same_size_is_read_again(images: FileImages) -> None:
    assert list(unreadable(images, "header")) == [1, 2]
    file = Path(images.paths[0])
    file.write_bytes(b"x" * file.stat().st_size)
    os.utime(file, ns=(0, file.stat().st_mtime_ns + 1))
    assert list(unreadable(images, "header")) == [0, 1, 2]


def test_a_cache_that_cannot_be_written_costs_no_check(
    images: FileImages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("CROSSBATCH_CACHE", str(tmp_path / "file" / "cache"))
    assert list(unreadable(images, "header")) == [1, 2]
    monkeypatch.setenv("CROSSBATCH_CACHE", str(tmp_path / "damaged"))
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "checked.sqlite").write_bytes(os.urandom(5000))
    assert list(unreadable(images, "header")) == [1, 2]


def test_all_are_told_together_with_a_file_that_lists_them(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CROSSBATCH_CACHE", str(tmp_path / "cache"))
    for number in range(3):
        (tmp_path / "photos" / f"class {number}").mkdir(parents=True)
        for image in range(4):
            source = pictures / f"class {number}" / f"{image}.png"
            (tmp_path / "photos" / f"class {number}" / source.name).write_bytes(source.read_bytes())
    bad = [tmp_path / "photos" / "class 0" / "1.png", tmp_path / "photos" / "class 2" / "3.png"]
    bad[0].write_bytes(b"")
    with pytest.raises(DataError, match=r"^cannot read the image .*1.png \(the file is empty\); mend"):
        refuse_unreadable(folder.load(tmp_path / "photos"), "header")
    bad[1].write_text("text")
    with pytest.raises(DataError, match=r"2 of 12 images cannot be read, .* in .*csv: cannot") as refused:
        refuse_unreadable(folder.load(tmp_path / "photos"), "header")
    listing = Path(str(refused.value).split("listed in ")[1].split(": cannot")[0]).read_text()
    assert [line.split(",")[0] for line in listing.splitlines()] == ["path", "class 0/1.png", "class 2/3.png"]
    refuse_unreadable(folder.load(tmp_path / "photos"), "none")
    left = without_unreadable(folder.load(tmp_path / "photos"), "header")
    assert sum(part["images"] for part in (part.counts for part in left.parts.values())) == 10
    assert left.notes[-1].endswith(".csv: left out")
    assert "2 of 12 images cannot be read" in left.notes[-1]
    whole = (bad[1].parent / "2.png").read_bytes()
    bad[1].write_bytes(whole[: len(whole) // 2])
    for how, images in (("header", 11), ("decode", 10), ("none", 12)):
        left = without_unreadable(folder.load(tmp_path / "photos"), how)
        assert sum(len(part) for part in left.parts.values()) == images
