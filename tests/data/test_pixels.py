"""Tests of the pixels of a file: transparency, 16-bit grey and orientation; and the messages for unreadable files."""

import io
import random
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from crossbatch.data.crops import TURNS, View, see, upright
from crossbatch.data.image_files import READS_HEIC, FileImages
from crossbatch.data.transforms import Preprocessing, background_colour
from crossbatch.errors import DataError, SettingError

ORIENTATION = 0x0112
LOSSLESS = {"PNG": {}, "WEBP": {"lossless": True, "exact": True}, "TIFF": {}}


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def whole(file: bytes, **options: object) -> np.ndarray:
    """All pixels of a file at its own size, [height, width, channels]."""
    return (
        see(file, lambda width, height: View((width, height), (0, 0, width, height), (width, height), **options))
        .permute(1, 2, 0)
        .numpy()
    )


def cut_out(hidden: int) -> np.ndarray:
    """An opaque red square and a half-transparent strip. Elsewhere alpha is 0 and the colour is `hidden`."""
    pixels = np.full((16, 16, 4), hidden, np.uint8)
    pixels[..., 3] = 0
    pixels[12:] = (100, 0, 200, 128)
    pixels[4:8, 4:8] = (255, 0, 0, 255)
    return pixels


def on(background: int) -> np.ndarray:
    expected = np.full((16, 16, 3), background, np.uint8)
    expected[12:] = [round((part * 128 + background * 127) / 255) for part in (100, 0, 200)]
    expected[4:8, 4:8] = (255, 0, 0)
    return expected


@pytest.mark.parametrize("kind", LOSSLESS)
@pytest.mark.parametrize("hidden", [0, 90, 255])
def test_what_is_hidden_under_alpha_0_is_not_seen(kind: str, hidden: int, tmp_path: Path) -> None:
    file = saved(Image.fromarray(cut_out(hidden), "RGBA"), kind, **LOSSLESS[kind])
    for background in (255, 0, 40):
        seen = whole(file, background=(background,) * 3).astype(int)
        assert np.abs(seen - on(background)).max() <= 1
    (tmp_path / "image").write_bytes(file)
    read = np.asarray(FileImages([tmp_path / "image"], tmp_path).read(0)).astype(int)
    assert np.abs(read - on(255)).max() <= 1


def test_grey_and_palettes_with_transparency() -> None:
    grey = Image.fromarray(cut_out(90), "RGBA").convert("LA")
    palette = Image.fromarray(cut_out(90)[..., :3], "RGB").quantize(8)
    place = palette.getpixel((0, 0))
    for file, opaque_pixel in ((saved(grey, "PNG"), 76), (saved(palette, "PNG", transparency=place), 255)):
        seen = whole(file)
        assert (seen[0, 0] == 255).all()
        assert abs(int(seen[5, 5, 0]) - opaque_pixel) <= 1
    assert (whole(saved(grey, "PNG"), channels=1)[0, 0] == 255).all()


def test_the_background_is_kept_with_the_model() -> None:
    plain = {"size": 4, "resize": 4, "channels": 3, "mean": [0.5] * 3, "std": [0.5] * 3}
    assert Preprocessing.restore(plain).look(4, 4).background == (255, 255, 255)
    assert Preprocessing.restore({**plain, "background": "#102030"}).look(4, 4).background == (16, 32, 48)
    with pytest.raises(SettingError, match=r"--model.background is a colour, as white, black or .*, got nope"):
        background_colour("nope")


def test_deep_greys_keep_their_levels() -> None:
    ramp = np.arange(256, dtype=np.uint8)[None].repeat(4, 0)
    for levels in (ramp.astype(np.uint16) * 257, (ramp / 255).astype(np.float32)):
        for kind in ("TIFF", "PNG") if levels.dtype == np.uint16 else ("TIFF",):
            assert np.abs(whole(saved(Image.fromarray(levels), kind)).astype(int) - ramp[..., None]).max() <= 1


@pytest.mark.parametrize(
    ("levels", "told"),
    [
        (np.arange(256, dtype=np.int32)[None], "whole numbers of 32 bits"),
        (np.linspace(0, 255, 256, dtype=np.float32)[None], "real numbers beyond 0 to 1"),
        (np.full((2, 2), np.nan, np.float32), "real numbers beyond 0 to 1"),
    ],
)
def test_levels_of_no_known_range_are_refused_by_name(levels: np.ndarray, told: str, tmp_path: Path) -> None:
    Image.fromarray(levels).save(tmp_path / "deep.tif")
    images = FileImages([tmp_path / "deep.tif"], tmp_path)
    for reading in (lambda: images.read(0), lambda: images.see(0, lambda w, h: View((w, h), (0, 0, w, h), (w, h)))):
        with pytest.raises(DataError, match=rf"deep.tif \(its levels are {told}.*save it with 8 or 16 bits"):
            reading()


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_the_way_up_of_every_format(kind: str, orientation: int) -> None:
    draw = np.random.default_rng(0)
    upright = Image.fromarray(draw.integers(0, 256, (3, 5, 3), dtype=np.uint8).repeat(8, 0).repeat(8, 1))
    back = {6: Image.Transpose.ROTATE_90, 8: Image.Transpose.ROTATE_270}
    turn = back.get(orientation, TURNS.get(orientation))
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    stored = upright if turn is None else upright.transpose(turn)
    file = saved(
        stored, kind, exif=exif, **{"JPEG": {"quality": 95, "subsampling": 0}}.get(kind, LOSSLESS.get(kind, {}))
    )
    seen = whole(file)
    assert seen.shape == (24, 40, 3)
    assert np.abs(seen.astype(int) - np.asarray(upright)).mean() < (6 if kind == "JPEG" else 0.01)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_what_was_turned_is_not_turned_again(kind: str) -> None:
    """A user's function may open and turn an image, and a search may cut a part out of it."""
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    turned = upright(Image.open(io.BytesIO(saved(Image.new("RGB", (16, 8)), kind, exif=exif))))
    assert turned.size == (8, 16)
    assert upright(turned.copy()).size == (8, 16)
    assert upright(turned.crop((0, 0, 8, 12))).size == (8, 12)


@pytest.mark.parametrize("size", [(1, 60_000), (60_000, 1), (2000, 3)])
@pytest.mark.parametrize("sides", [24, (8, 96)])
def test_a_line_of_pixels_is_no_danger(size: tuple[int, int], sides: int | tuple[int, int]) -> None:
    """The part that is cut off is not scaled first, which would take gigabytes."""
    seen = Preprocessing(size=sides, resize=32, channels=3, mean=(0.5,) * 3, std=(0.5,) * 3)
    view = seen.look(*size)
    assert view.size[0] * view.size[1] < 3_000_000
    assert seen(Image.new("RGB", size)).shape == (3, *seen.sides)


def test_no_file_makes_a_program_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """PostScript is refused whatever its file name: Pillow would pass it to Ghostscript."""
    monkeypatch.setattr("PIL.EpsImagePlugin.Ghostscript", lambda *_: pytest.fail("Ghostscript was run"))
    (tmp_path / "x.jpg").write_bytes(
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\nshowpage\n%%EOF\n"
    )
    for reading in (lambda: FileImages([tmp_path / "x.jpg"], tmp_path).read(0), lambda: whole_of(tmp_path / "x.jpg")):
        with pytest.raises(DataError, match=r"cannot read the image .*x\.jpg"):
            reading()


def whole_of(path: Path) -> object:
    return FileImages([path], path.parent).see(0, Preprocessing(8, 8, 3, (0.5,) * 3, (0.5,) * 3).look)


def test_exif_data_that_cannot_be_read_do_not_cost_the_image() -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    image = Image.new("RGB", (16, 8), (200, 10, 10))
    file, chance = saved(image, "JPEG", exif=exif), random.Random(0)
    start = file.index(b"Exif\0\0") + 6
    for _ in range(200):
        damaged = bytearray(file)
        for _ in range(4):
            damaged[start + chance.randrange(20)] = chance.randrange(256)
        assert whole(bytes(damaged)).shape in ((8, 16, 3), (16, 8, 3))
    short = file[:start] + struct.pack("<2sHL", b"II", 42, 2**31) + file[start + 8 :]
    assert whole(short).shape == (8, 16, 3)


def test_each_failure_has_its_own_words(tmp_path: Path) -> None:
    damaged = bytearray(saved(Image.new("RGB", (9, 9)), "PNG"))
    damaged[:4] = b"\x00\xff\x00\xff"
    heic = "it is HEIC, and damaged" if READS_HEIC else "HEIC needs pillow-heif"
    contents = {
        "empty.jpg": (b"", "the file is empty"),
        "text.jpg": (b"<html>not found</html>", "it is text"),
        "noise.jpg": (bytes(damaged), "not a format that Pillow knows, or its beginning is damaged"),
        "phone.heic": (b"\0\0\0\x18ftypheic" + bytes(40), heic),
        "short.png": (saved(Image.new("RGB", (99, 99)), "PNG")[:60], ""),
    }
    for name, (content, told) in contents.items():
        path = tmp_path / name
        path.write_bytes(content)
        images = FileImages([path], tmp_path)
        for reading in (
            lambda i=images: i.read(0),
            lambda i=images: i.see(0, lambda w, h: View((w, h), (0, 0, w, h), (w, h))),
        ):
            with pytest.raises(DataError) as refused:
                reading()
            assert f"cannot read the image {path} ({told}" in str(refused.value)
            assert "BytesIO" not in str(refused.value)
            assert "\n" not in str(refused.value)


def test_a_name_that_is_no_utf_8_is_told(tmp_path: Path) -> None:
    path = tmp_path / "caf\udce9\n.png"
    path.write_bytes(b"")
    with pytest.raises(DataError, match=r"caf\\xe9\\n.png \(the file is empty\)"):
        FileImages([path], tmp_path).read(0)


def test_print_colours_are_those_of_the_screen() -> None:
    colours = np.random.default_rng(1).integers(0, 256, (4, 4, 3), dtype=np.uint8).repeat(16, 0).repeat(16, 1)
    image = Image.fromarray(colours)
    seen = whole(saved(image.convert("CMYK"), "JPEG", quality=100, subsampling=0))
    inner = np.abs(seen.astype(int) - colours)[4::16, 4::16]
    assert inner.max() <= 2


def test_nothing_of_it_needs_more_than_the_cut(tmp_path: Path) -> None:
    assert torch.equal(
        see(saved(Image.new("RGBA", (8, 8), (0, 0, 0, 0)), "PNG"), lambda w, h: View((w, h), (2, 2, 4, 4), (2, 2))),
        torch.full((3, 2, 2), 255, dtype=torch.uint8),
    )
