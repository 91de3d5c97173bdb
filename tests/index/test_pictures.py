"""Tests that a picture is shown only as it was indexed, and that a gallery gives no access to other files."""

import os
import re
import shutil
from io import BytesIO
from pathlib import Path

import pytest
from galleries import indexed, model_in, opened
from PIL import Image

from crossbatch.data import image_files
from crossbatch.errors import DataError, SettingError
from crossbatch.index.box import Box
from crossbatch.index.description import Root
from crossbatch.index.indexing import digest_of
from crossbatch.index.pictures import original, to_show
from crossbatch.index.queries import TooManyPixelsError, read_query


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A root with a picture, and a secret file beside the root."""
    (tmp_path / "root" / "a").mkdir(parents=True)
    (tmp_path / "root" / "a" / "x.png").write_bytes(b"inside")
    (tmp_path / "secret").write_bytes(b"secret")
    return tmp_path / "root"


@pytest.mark.parametrize(
    "file",
    [
        "../secret",
        "../root of another",
        "a/../../secret",
        "{root}/../secret",
        "/etc/hostname",
        "link",
        "linked/secret",
        "pipe",
        "a",
        "",
        "none",
    ],
)
def test_nothing_outside_the_root_is_read(file: str, place: Path, tmp_path: Path) -> None:
    (tmp_path / "root of another").write_bytes(b"secret")
    (place / "link").symlink_to(tmp_path / "secret")
    (place / "linked").symlink_to(tmp_path)
    os.mkfifo(place / "pipe")
    root, wanted = Root.of(place, tmp_path), file.format(root=place).encode()
    for content in (b"secret", b"", Path("/etc/hostname").read_bytes()):
        assert original(tmp_path, root, wanted, digest_of(content)) is None
    assert original(tmp_path, root, b"a/x.png", digest_of(b"inside")) == b"inside"


def test_the_root_may_be_that_of_the_file_system(place: Path, tmp_path: Path) -> None:
    file = str(place / "a" / "x.png").encode()
    assert original(tmp_path, Root.of(Path("/"), tmp_path), file[1:], digest_of(b"inside")) == b"inside"


def test_a_link_within_the_root_is_followed(place: Path, tmp_path: Path) -> None:
    (place / "link").symlink_to(place / "a" / "x.png")
    assert original(tmp_path, Root.of(place, tmp_path), b"link", digest_of(b"inside")) == b"inside"


def test_a_file_that_has_changed_is_not_shown(pictures: Path, tmp_path: Path) -> None:
    shutil.copytree(pictures / "class 1", tmp_path / "photos")
    indexed(tmp_path / "gallery", model_in(tmp_path / "run"), [tmp_path / "photos"])
    gallery = opened(tmp_path / "gallery")
    assert (gallery.picture(0).kind, gallery.picture(0).type) == ("original", "image/png")
    Image.new("RGB", (16, 16), "red").save(tmp_path / "photos" / gallery.rows.image(0).path)
    assert gallery.picture(0).kind == "thumbnail"


def test_what_browsers_do_not_show_is_converted(tmp_path: Path) -> None:
    Image.new("RGB", (3000, 1500), "blue").save(tmp_path / "x.tif")
    shown = to_show((tmp_path / "x.tif").read_bytes())
    assert shown is not None
    assert (shown.kind, shown.type) == ("converted", "image/jpeg")
    assert to_show(b"<svg onload='alert(1)'/>") is None
    assert to_show(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n") is None


def test_a_query_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    Image.new("1", (10_000, 10_000)).save(tmp_path / "large.png")
    with pytest.raises(TooManyPixelsError, match="10000 × 10000 pixels"):
        read_query((tmp_path / "large.png").read_bytes())
    Image.new("1", (20_000, 10_000)).save(tmp_path / "larger.png")
    with pytest.raises(TooManyPixelsError, match="more pixels than the 50,000,000"):
        read_query((tmp_path / "larger.png").read_bytes())


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "the file is empty"),
        (b"text", "it is text"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "it is text"),
        (b"\x89PNG\r\n\x1a\n" + b"0" * 99, ""),
        (b"\0\0\0\x18ftypheic" + b"\xff" * 99, 'HEIC needs pillow-heif: pip install ".[heif]" in the clone'),
    ],
)
def test_what_is_no_image_is_refused_in_the_words_that_a_data_set_has_for_it(
    content: bytes, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(image_files, "READS_HEIC", False)
    with pytest.raises(DataError, match=re.escape(f"this cannot be read as an image: {why}")):
        read_query(content)


@pytest.mark.parametrize("kind", ["jpeg", "png", "webp"])
def test_a_query_that_was_cut_off_is_called_incomplete(kind: str) -> None:
    file = BytesIO()
    Image.effect_noise((200, 200), 90).convert("RGB").save(file, kind)
    whole = file.getvalue()
    for content in (whole[:-200], whole[: len(whole) // 2]):
        with pytest.raises(DataError, match="cannot be read as an image: ") as refused:
            read_query(content)
        assert "bytes not processed" not in str(refused.value)
        if kind == "jpeg":
            assert str(refused.value).endswith("the file is incomplete: its end is missing")


def test_a_box_is_cut_from_the_upright_image(tmp_path: Path) -> None:
    image = Image.new("RGB", (40, 20), "white")
    image.paste("red", (0, 0, 10, 20))  # the left quarter, which EXIF turns to the top
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(tmp_path / "x.png", exif=exif)
    content = (tmp_path / "x.png").read_bytes()
    query = read_query(content, "0,0,1,0.25")
    assert (query.width, query.height, query.image.size) == (20, 40, (20, 10))
    assert query.image.getpixel((10, 5)) == (255, 0, 0)
    assert read_query(content, "0,0,20,10").image.tobytes() == query.image.tobytes()
    assert Box.parse("0,0,20,10", 20, 40).edges == [0, 0, 1, 0.25]


@pytest.mark.parametrize(
    "text", ["", "1,2,3", "a,b,c,d", "0,0,nan,1", "0,0,inf,1", "0.5,0,0.5,1", "0,0,21,9", "-1,0,1,1", "0,0,0,0"]
)
def test_what_is_no_box(text: str) -> None:
    with pytest.raises(SettingError, match="a box is left,top,right,bottom"):
        Box.parse(text, 20, 40)


def test_a_box_of_next_to_no_width_is_a_pixel_of_the_image(tmp_path: Path) -> None:
    Image.new("RGB", (40, 20), "red").save(tmp_path / "x.jpg")
    query = read_query((tmp_path / "x.jpg").read_bytes(), "0,0,5e-324,1")
    assert query.image.size == (1, 20)


def test_a_folder_of_the_same_name_does_not_hide_the_right_one(place: Path, tmp_path: Path) -> None:
    root = Root.of(place, tmp_path / "gallery")
    (tmp_path / "away" / "root" / "a").mkdir(parents=True)
    (tmp_path / "away" / "root" / "a" / "x.png").write_bytes(b"another")
    moved = tmp_path / "away" / "gallery"
    assert original(moved, root, b"a/x.png", digest_of(b"inside")) == b"inside"
    assert original(moved, root, b"a/x.png", digest_of(b"another")) == b"another"
    assert original(moved, root, b"a/x.png", digest_of(b"neither")) is None


@pytest.mark.parametrize("box", ["0,0,0.001,0.001", "0.999,0.999,1,1"])
def test_the_smallest_box_has_a_pixel(box: str) -> None:
    left, top, right, bottom = Box.parse(box, 20, 40).pixels(20, 40)
    assert 0 <= left < right <= 20
    assert 0 <= top < bottom <= 40
