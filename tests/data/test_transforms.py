"""Tests that the random transform of an image depends only on its seed."""

import json
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict

import numpy as np
import pytest
import torch
from PIL import Image
from torch.testing import assert_close
from torchvision.transforms import v2

from crossbatch.data.augment import POLICIES, Amounts, Augment
from crossbatch.data.augmentation import Augmentation
from crossbatch.data.transforms import Evenly, Preprocessing, Transform, image_seed

GREY = Preprocessing(size=12, resize=14, channels=1, mean=(0.5,), std=(0.25,))
RGB = Preprocessing(size=12, resize=14, channels=3, mean=(0.4, 0.5, 0.6), std=(0.2, 0.25, 0.3))
EVERYTHING = Amounts(0.5, 1.2, 0.5, 0.1, 20, 0.1, 0.1, 0.3, 0.5, 0.5, 0.5)
AMOUNTS = {name: POLICIES[name] for name in ("drawn", "photo", "paper")} | {"everything": EVERYTHING}
AUGMENTATIONS = [Augmentation(preprocessing, amounts) for amounts in AMOUNTS.values() for preprocessing in (GREY, RGB)]
TRANSFORMS = [*AUGMENTATIONS, Evenly(GREY), Evenly(RGB)]


def name(transform: Transform) -> str:
    amounts = getattr(transform, "amounts", None)
    policy = next((name for name, one in AMOUNTS.items() if one == amounts), "evenly")
    return f"{policy} {'grey' if transform.preprocessing.channels == 1 else 'RGB'}"


every_augmentation = pytest.mark.parametrize("transform", AUGMENTATIONS, ids=name)
every_transform = pytest.mark.parametrize("transform", TRANSFORMS, ids=name)


def pictures(n: int, width: int = 20, height: int = 16) -> list[Image.Image]:
    rng = np.random.default_rng(0)
    return [Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8)) for _ in range(n)]


def seen(transform: Transform, images: list[Image.Image], seeds: list[int]) -> torch.Tensor:
    """Transform whole images, as a data set passes them to a transform."""
    views = [transform.look(seed)(*image.size).of(image) for image, seed in zip(images, seeds, strict=True)]
    return transform(views, seeds)


@every_transform
def test_an_image_looks_the_same_alone_and_in_any_batch(transform: Transform) -> None:
    images, seeds = pictures(9), list(range(100, 109))
    together = seen(transform, images, seeds)
    order = [4, 0, 8, 2]
    assert_close(
        seen(transform, [images[i] for i in order], [seeds[i] for i in order]), together[order], rtol=0, atol=0
    )
    for i in (0, 5):
        assert_close(seen(transform, [images[i]], [seeds[i]])[0], together[i], rtol=0, atol=0)


@every_augmentation
def test_another_seed_draws_something_else(transform: Transform) -> None:
    image = pictures(1) * 20
    drawn = seen(transform, image, [image_seed(0, 0, position) for position in range(20)])
    assert len(torch.unique(drawn, dim=0)) > 15
    assert_close(seen(transform, image, [7] * 20), seen(transform, image[:1], [7]).expand(20, -1, -1, -1))


@pytest.mark.parametrize("preprocessing", [GREY, RGB], ids=["grey", "RGB"])
def test_evaluation_takes_no_notice_of_seeds(preprocessing: Preprocessing) -> None:
    images = pictures(3)
    transform = Evenly(preprocessing)
    assert torch.equal(seen(transform, images, [1, 2, 3]), seen(transform, images, [0, 0, 0]))


@every_transform
def test_no_generator_but_its_own_is_touched(transform: Transform, monkeypatch: pytest.MonkeyPatch) -> None:
    """This includes the generators of GPUs, which torch.manual_seed seeds too."""
    monkeypatch.setattr(torch.cuda, "manual_seed_all", lambda seed: pytest.fail("the GPUs were seeded"))
    state = torch.get_rng_state()
    seen(transform, pictures(2), [1, 2])
    assert torch.equal(torch.get_rng_state(), state)


def test_threads_draw_side_by_side_what_each_draws_alone() -> None:
    transform, interval = Augmentation(RGB, POLICIES["paper"]), sys.getswitchinterval()
    alone = [transform.look(seed)(90, 70) for seed in range(300)]
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(8) as pool:
            assert list(pool.map(lambda seed: transform.look(seed)(90, 70), range(300))) == alone
    finally:
        sys.setswitchinterval(interval)


@every_augmentation
def test_the_state_of_the_generator_has_no_say(transform: Transform) -> None:
    first = seen(transform, pictures(2), [1, 2])
    torch.manual_seed(99)
    assert torch.equal(seen(transform, pictures(2), [1, 2]), first)


@every_transform
@pytest.mark.parametrize("size", [(12, 12), (40, 9), (5, 30), (1, 1)])
@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
def test_any_image_becomes_a_square_of_the_right_channels(
    transform: Transform, size: tuple[int, int], mode: str
) -> None:
    pixels = seen(transform, [image.convert(mode) for image in pictures(2, *size)], [0, 1])
    assert pixels.shape == (2, transform.preprocessing.channels, 12, 12)
    assert pixels.dtype == torch.float32
    assert pixels.isfinite().all()


@pytest.mark.parametrize(
    "transform",
    [one for one in TRANSFORMS if getattr(one, "amounts", EVERYTHING).colour == 0 or isinstance(one, Evenly)],
    ids=name,
)
def test_a_plain_image_stays_plain_and_is_normalised(transform: Transform) -> None:
    """No other colour enters at the border."""
    pre = transform.preprocessing
    pixels = seen(transform, [Image.new("RGB", (20, 16), (51, 51, 51))], [3])
    expected = (0.2 - torch.tensor(pre.mean)) / torch.tensor(pre.std)
    assert_close(pixels, expected[None, :, None, None].expand_as(pixels), rtol=0, atol=1e-5)


def test_evaluation_scales_the_short_side_and_crops_the_centre() -> None:
    image = Image.new("L", (48, 24))
    image.paste(255, (20, 0, 28, 24))
    pixels = Preprocessing(size=12, resize=12, channels=1, mean=(0.0,), std=(1.0,)).tensor([image])[0, 0]
    assert pixels[:, 5:7].min() > 0.9
    assert pixels[:, [0, 11]].max() < 0.1


def test_a_moved_glyph_is_moved_a_little() -> None:
    """A bar stays mostly in place, and is never mirrored, turned upside down or moved out of sight."""
    image = Image.new("L", (32, 32))
    image.paste(255, (6, 8, 20, 16))
    transform = Augmentation(Preprocessing(32, 32, 1, (0.0,), (1.0,)), POLICIES["drawn"])
    drawn = seen(transform, [image] * 50, list(range(50)))
    ink = drawn.sum((1, 2, 3)) / (14 * 8)
    assert ((ink > 0.6) & (ink < 1.6)).all()
    assert (drawn[:, :, 8:16, 6:20].sum((1, 2, 3)) > 0.4 * drawn.sum((1, 2, 3))).all()
    assert len(torch.unique(drawn, dim=0)) == 50


def test_seeds_of_images_differ_and_are_known() -> None:
    seeds = {image_seed(a, b, c) for a in range(4) for b in range(12) for c in range(12)}
    assert len(seeds) == 4 * 12 * 12
    assert image_seed(0, 0, 0) == image_seed(0, 0, 0)
    assert all(0 <= seed < 2**56 for seed in seeds)


def halves(width: int, height: int) -> Image.Image:
    """The left half is red and the right half is blue."""
    image = Image.new("RGB", (width, height), (255, 0, 0))
    image.paste((0, 0, 255), (width // 2, 0, width, height))
    return image


def shown(fit: str, size: int | tuple[int, int], image: Image.Image, background: str = "white") -> np.ndarray:
    """The levels that the network sees, [height, width, channels]."""
    small = size if isinstance(size, int) else min(size)
    preprocessing = Preprocessing(size, small, 3, (0.0,) * 3, (1 / 255,) * 3, background, fit)
    return preprocessing.tensor([image])[0].permute(1, 2, 0).numpy().round().astype(int)


@pytest.mark.parametrize("size", [24, (32, 16), (16, 32)])
@pytest.mark.parametrize("shape", [(40, 40), (80, 20), (20, 80), (10, 7)])
@pytest.mark.parametrize("fit", ["crop", "pad", "squash"])
def test_every_fit_gives_the_size_asked_for(fit: str, shape: tuple[int, int], size: int | tuple[int, int]) -> None:
    seen = shown(fit, size, halves(*shape))
    high, wide = (size, size) if isinstance(size, int) else size
    assert seen.shape == (high, wide, 3)
    row = seen[high // 2]
    left, right = row[wide // 2 - 2], row[wide // 2 + 1]
    assert left[0] > left[2]
    assert right[2] > right[0]


def test_crop_pad_and_squash_are_told_apart() -> None:
    wide = halves(80, 20)
    assert (shown("crop", 24, wide)[0, 0] == [255, 0, 0]).all()
    padded = shown("pad", 24, wide, "#102030")
    assert padded[0, 0].tolist() == [16, 32, 48]
    assert (padded[:, :, 1] == 32).all(1).sum() == 18  # 18 rows are background, and six show the image
    squashed = shown("squash", (24, 12), wide)
    assert (squashed[:, 0] == [255, 0, 0]).all()
    assert (squashed[:, -1] == [0, 0, 255]).all()


def test_a_person_s_crop_has_the_shape_that_is_wanted() -> None:
    preprocessing = Preprocessing((64, 32), 32, 3, (0.5,) * 3, (0.5,) * 3)
    augment = Augmentation(preprocessing, POLICIES["paper"])
    ratios = []
    for seed in range(200):
        view = augment.look(seed)(300, 600)
        left, upper, right, lower = view.box
        ratios.append((right - left) / (lower - upper))
        assert view.size == (32, 64)
    assert 0.36 < min(ratios) < 0.45
    assert 0.55 < max(ratios) < 0.68


def test_sizes_and_fits_are_restored_from_json() -> None:
    preprocessing = Preprocessing((64, 32), 36, 3, (0.5,) * 3, (0.5,) * 3, "black", "pad")
    assert Preprocessing.restore(json.loads(json.dumps(asdict(preprocessing)))) == preprocessing


COLOURS = ((0.8, 0.1, 0.1), (0.1, 0.6, 0.2), (0.2, 0.2, 0.9))


def changed(**amounts: float) -> torch.Tensor:
    """Sixty augmented copies of an image with three stripes: levels in [0, 1], [images, channels, 12, 12]."""
    image = Image.new("RGB", (12, 12))
    for stripe, colour in enumerate(COLOURS):
        image.paste(tuple(round(255 * part) for part in colour), (4 * stripe, 0, 4 * stripe + 4, 12))
    transform = Augmentation(Preprocessing(12, 12, 3, (0.0,) * 3, (1.0,) * 3), Amounts(**amounts))
    return seen(transform, [image] * 60, list(range(60)))


def test_each_part_of_an_augmentation_does_what_its_name_says() -> None:
    as_it_is = changed()[0]
    mirrored = changed(mirror=0.5)
    turned = torch.stack([torch.equal(one, as_it_is.flip(2)) * torch.tensor(1) for one in mirrored])
    kept = torch.stack([torch.equal(one, as_it_is) * torch.tensor(1) for one in mirrored])
    assert ((turned + kept) == 1).all()
    assert 15 < turned.sum() < 45
    grey = changed(grey=0.5)
    without_colour = (grey.amax(1) - grey.amin(1)).flatten(1).amax(1) < 1e-5
    assert 15 < without_colour.sum() < 45
    assert_close(grey[~without_colour], as_it_is.expand_as(grey[~without_colour]), rtol=0, atol=1e-5)
    luma = (as_it_is * torch.tensor([0.299, 0.587, 0.114])[:, None, None]).sum(0)
    assert_close(grey[without_colour][0, 0], luma, rtol=0, atol=1e-5)
    blurred, erased = changed(blur=0.5), changed(erase=0.5)
    assert 15 < (blurred != as_it_is).flatten(1).any(1).sum() < 45
    assert_close(blurred.mean((2, 3)), as_it_is.mean((1, 2)).expand(60, 3), rtol=0, atol=0.02)
    painted = (erased != as_it_is).any(1).flatten(1).float().mean(1)
    assert 15 < (painted > 0).sum() < 45
    assert painted.max() < 0.4
    for moved in (changed(shift=0.2), changed(rotation=20), changed(zoom=0.3), changed(shear=0.3), changed(crop=0.4)):
        assert len(torch.unique(moved, dim=0)) > 12


def test_colour_changes_by_no_more_than_it_says_and_is_what_torchvision_does() -> None:
    coloured, as_it_is = changed(colour=0.2), changed()[0]
    assert len(torch.unique(coloured, dim=0)) == 60
    assert (coloured.mean((1, 2, 3)) / as_it_is.mean()).sub(1).abs().max() < 0.35
    level = torch.full((1, 12, 12), 0.5)
    bright = v2.functional.adjust_brightness(as_it_is, 1.2)
    assert coloured.amax() <= 1.2 * (bright.amax() + level.amax() * 0.2)


def test_brightness_and_contrast_each_change_by_no_more_than_they_say() -> None:
    """A level becomes `contrast · brightness · level + (1 − contrast) / 2`, so black and white determine both."""
    image = Image.new("RGB", (12, 12))
    image.paste((255, 255, 255), (0, 0, 6, 12))
    transform = Augmentation(Preprocessing(12, 12, 3, (0.0,) * 3, (1.0,) * 3), Amounts(colour=0.2))
    found = seen(transform, [image] * 400, list(range(400)))
    white, black = found[:, 0, 0, 0], found[:, 0, 0, -1]
    contrast = 1 - 2 * black
    for factor in (contrast, (white - black) / contrast):
        assert factor.min() == pytest.approx(0.8, abs=0.01)
        assert factor.max() == pytest.approx(1.2, abs=0.01)
        assert 0.8 - 1e-4 < factor.min() < factor.max() < 1.2 + 1e-4


@pytest.mark.parametrize("policy", list(POLICIES))
def test_a_field_that_is_given_takes_the_place_of_the_policys(policy: str) -> None:
    assert Augment(policy).amounts == POLICIES[policy]
    changed_one = Augment(policy, crop=0.9, rotation=3.0, mirror=0.0).amounts
    assert (changed_one.crop, changed_one.rotation, changed_one.mirror) == (0.9, 3.0, 0.0)
    assert changed_one.shift == POLICIES[policy].shift


def test_amounts_say_what_they_do() -> None:
    assert str(POLICIES["none"]) == "nothing changed"
    assert str(POLICIES["paper"]) == "crop 0.2, mirror 0.5"
