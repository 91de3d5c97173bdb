"""Tests that the view of an image is the same whether its file is decoded at full size or at a smaller scale."""

import io
from pathlib import Path

import numpy as np
import pytest
import simplejpeg
import torch
from PIL import Image
from torch.testing import assert_close
from torchvision.transforms import v2

from crossbatch.data import crops
from crossbatch.data.augment import POLICIES
from crossbatch.data.augmentation import Augmentation
from crossbatch.data.crops import View, see, upright
from crossbatch.data.image_files import FileImages
from crossbatch.data.transforms import Preprocessing
from crossbatch.errors import DataError

RGB = Preprocessing(size=48, resize=56, channels=3, mean=(0.5,) * 3, std=(0.5,) * 3)
GREY = Preprocessing(size=48, resize=56, channels=1, mean=(0.5,), std=(0.5,))
SIZES = [(400, 300), (301, 457), (900, 150), (97, 640), (64, 64), (40, 30)]
ORIENTATION = 0x0112


def picture(width: int, height: int) -> Image.Image:
    """A picture like a photograph: finer detail has less contrast, there is an edge, and all quarters differ."""
    draw = np.random.default_rng(0)
    total = np.zeros((height, width, 3))
    for level, cells in enumerate((2, 5, 12, 30), 1):
        noise = Image.fromarray(draw.integers(0, 256, (cells, cells, 3), dtype=np.uint8))
        total += np.asarray(noise.resize((width, height), Image.Resampling.BICUBIC), dtype=float) / 2**level
    image = Image.fromarray(total.clip(0, 255).astype(np.uint8))
    image.paste((250, 30, 30), (width // 8, height // 8, width // 3, height // 2))
    return image


def jpeg(image: Image.Image, orientation: int = 0, **options: object) -> bytes:
    file = io.BytesIO()
    exif = Image.Exif()
    if orientation:
        exif[ORIENTATION] = orientation
        options["exif"] = exif
    image.save(file, "JPEG", quality=95, **options)
    return file.getvalue()


def whole(file: bytes) -> Image.Image:
    """Decode the file at full size."""
    with Image.open(io.BytesIO(file)) as image:
        return upright(image)


def decoded_pixels(file: bytes, look: crops.Look, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Numbers of pixels that are decoded to see this view of a file."""
    counts: list[int] = []
    decode, cut = crops.decode_jpeg, View.cut

    def counting(*arguments: object, **options: object) -> np.ndarray:
        pixels = decode(*arguments, **options)
        counts.append(pixels.shape[0] * pixels.shape[1])
        return pixels

    def counting_cut(self: View, pixels: np.ndarray) -> torch.Tensor:
        counts.append(pixels.shape[0] * pixels.shape[1])
        return cut(self, pixels)

    monkeypatch.setattr(crops, "decode_jpeg", counting)
    monkeypatch.setattr(View, "cut", counting_cut)
    see(file, look)
    return counts


@pytest.mark.parametrize("orientation", range(9), ids=lambda o: f"EXIF {o}" if o else "no EXIF")
@pytest.mark.parametrize("preprocessing", [RGB, GREY], ids=["RGB", "grey"])
def test_a_view_of_a_scaled_decode_is_that_of_the_whole(orientation: int, preprocessing: Preprocessing) -> None:
    """The mean difference is below 4 of 255 levels for crops, and below one level for evaluation. Without scaling, no
    difference exceeds one level. A crop box moves by up to half a decoded pixel, which makes crops less exact.
    """
    for size in SIZES:
        file = jpeg(picture(*size), orientation)
        full = whole(file)
        augmentation = Augmentation(preprocessing, POLICIES["paper"])
        for look, tolerance in [(augmentation.look(seed), 4.0) for seed in range(6)] + [(preprocessing.look, 1.0)]:
            view = look(*full.size)
            difference = (see(file, look).float() - view.of(full).float()).abs()
            assert difference.mean() < tolerance
            assert difference.max() <= (1 if view.scale == 1 else 120)


@pytest.mark.parametrize("orientation", [0, 6])
def test_no_more_is_decoded_than_a_view_needs(orientation: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """An image of 800 × 600 is decoded at 1/8 for a view of 64 × 64, and at 1/4 for one with twice the reserve."""
    file = jpeg(picture(800, 600), orientation)
    size = (600, 800) if orientation else (800, 600)
    for wanted, reserve, divisor in ((64, 1.0, 8), (64, 2.0, 4), (150, 1.0, 4), (400, 1.0, 1), (900, 1.0, 1)):
        view = View(size, (0, 0, *size), (wanted, wanted), reserve=reserve)
        with monkeypatch.context() as patch:
            (*_, pixels) = decoded_pixels(file, lambda *_, view=view: view, patch)
        assert pixels == 800 * 600 // divisor**2


def test_a_small_crop_of_a_large_image_is_decoded_at_full_size(monkeypatch: pytest.MonkeyPatch) -> None:
    view = View((800, 600), (10, 10, 74, 74), (64, 64))
    assert set(decoded_pixels(jpeg(picture(800, 600)), lambda *_: view, monkeypatch)) == {800 * 600}


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "WEBP", "GIF"])
def test_other_formats_are_seen_as_they_are(kind: str) -> None:
    file = io.BytesIO()
    picture(300, 200).save(file, kind, lossless=True) if kind == "WEBP" else picture(300, 200).save(file, kind)
    full = whole(file.getvalue())
    for look in (Augmentation(RGB, POLICIES["paper"]).look(3), RGB.look):
        assert torch.equal(see(file.getvalue(), look), look(*full.size).of(full))


@pytest.mark.parametrize("mode", ["L", "CMYK", "RGB"])
@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}], ids=["", "progressive", "4:4:4"])
def test_every_kind_of_jpeg(mode: str, options: dict[str, object]) -> None:
    file = jpeg(picture(300, 200).convert(mode), **options)
    for preprocessing in (RGB, GREY):
        for look in (Augmentation(preprocessing, POLICIES["paper"]).look(3), preprocessing.look):
            full = whole(file)
            assert (see(file, look).float() - look(*full.size).of(full).float()).abs().mean() < 3


@pytest.mark.parametrize("preprocessing", [RGB, GREY], ids=["RGB", "grey"])
def test_evaluation_is_torchvision_s_on_pillow_images(preprocessing: Preprocessing) -> None:
    """The difference is at most one level for a file decoded whole, and otherwise one level on average."""
    crop = v2.Compose([v2.Resize(preprocessing.resize), v2.CenterCrop(preprocessing.size), v2.PILToTensor()])
    for size in SIZES:
        file = jpeg(picture(*size))
        expected = crop(whole(file).convert("L" if preprocessing.channels == 1 else "RGB")) / 255
        for seen, tolerance in ((whole(file), 1.01), (see(file, preprocessing.look), 30)):
            pixels = preprocessing.tensor([seen]) if isinstance(seen, Image.Image) else preprocessing.normalize([seen])
            difference = (pixels[0] * 0.5 + 0.5 - expected).abs() * 255
            assert difference.max() < tolerance
            assert difference.mean() < 1


@pytest.mark.parametrize("size", SIZES)
def test_crops_are_distributed_as_torchvision_s(size: tuple[int, int]) -> None:
    """Sizes and positions of the boxes have the means and deviations of RandomResizedCrop."""
    theirs, draws = v2.RandomResizedCrop(48, scale=(0.2, 1.0)), 600
    drawn = [theirs.make_params([torch.empty(0, *size[::-1])]) for _ in range(draws)]
    expected = torch.tensor([[one["width"], one["height"], one["left"], one["top"]] for one in drawn]).float()
    views = [Augmentation(RGB, POLICIES["paper"]).look(seed)(*size) for seed in range(draws)]
    boxes = torch.tensor([view.box for view in views]).float()
    found = torch.stack([boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1], boxes[:, 0], boxes[:, 1]], 1)
    error = expected.std(0) / draws**0.5
    assert ((found.mean(0) - expected.mean(0)).abs() <= 4 * 2**0.5 * error + 0.5).all()
    # Hardly any crop fits into a strip: one in hundreds is not the fallback in the middle.
    assert_close(found.std(0), expected.std(0), rtol=0.15, atol=0.6 + 0.02 * max(size))
    assert 0.4 < sum(view.mirrored for view in views) / draws < 0.6


def test_a_crop_is_cut_out_as_torchvision_does() -> None:
    image = picture(*SIZES[0])
    for seed in range(12):
        view = Augmentation(RGB, POLICIES["paper"]).look(seed)(*image.size)
        left, upper, right, lower = view.box
        theirs = v2.functional.resized_crop(
            v2.functional.pil_to_tensor(image), upper, left, lower - upper, right - left, [48, 48]
        )
        expected = theirs.flip(2) if view.mirrored else theirs
        assert (view.of(image).float() - expected.float()).abs().max() <= 2


def test_a_draw_is_never_outside_of_the_image() -> None:
    augmentation = Augmentation(RGB, POLICIES["paper"])
    for size in [(1, 1), (3, 400), (400, 3), (48, 48)]:
        for seed in range(20):
            left, upper, right, lower = augmentation.look(seed)(*size).box
            assert 0 <= left < right <= size[0]
            assert 0 <= upper < lower <= size[1]


def test_a_damaged_jpeg_is_refused_in_words(tmp_path: Path) -> None:
    """Either library may find the damage. Damage that Pillow accepts is accepted."""
    path, content = tmp_path / "damaged.jpg", jpeg(picture(400, 300))
    images = FileImages([path], tmp_path)
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(
        DataError,
        match=r"^cannot read the image .*damaged\.jpg \(the file is incomplete: its end is missing\); mend or",
    ):
        images.see(0, RGB.look)
    path.write_bytes(b"\xff\xd8 no image")
    with pytest.raises(
        DataError, match=r"^cannot read the image .*damaged\.jpg \(not a format that Pillow knows, or its beginning"
    ):
        images.see(0, RGB.look)
    start = content.index(b"\xff\xdb")
    path.write_bytes(content[:start] + b"junk" + content[start:])
    with pytest.raises(ValueError, match="xtraneous"):
        simplejpeg.decode_jpeg(path.read_bytes())
    assert images.see(0, RGB.look).shape == (3, 56, 74)


def test_an_enormous_jpeg_is_left_to_pillow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow refuses images that could fill the memory."""
    file = jpeg(picture(400, 300))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 400 * 300 // 3)
    with pytest.raises(Image.DecompressionBombError, match="exceeds limit"):
        see(file, RGB.look)
