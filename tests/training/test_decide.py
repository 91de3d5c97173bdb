"""Tests that open options are decided once, from the images, and are stored with the reason."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image, ImageDraw
from rich.console import Console

from crossbatch import runs
from crossbatch.__main__ import main
from crossbatch.data.augment import Augment
from crossbatch.data.data_set import DataSet
from crossbatch.errors import DataError, SettingError
from crossbatch.training.comparison import compare
from crossbatch.training.decide import decide, size_for
from crossbatch.training.plan import plan_of
from crossbatch.training.run_parts import build_parts, load_data
from crossbatch.training.settings import BatchSettings, MemorySettings, ModelSettings, Settings
from crossbatch.training.train import fit

Quick = Callable[..., Settings]


def test_images_of_one_colour_are_told(tmp_path: Path, quick: Quick) -> None:
    """White drawings on a transparent ground are not seen on white."""

    def white_disc(rng: np.random.Generator) -> Image.Image:
        image = Image.new("RGBA", (20, 20), (255, 255, 255, 0))
        ImageDraw.Draw(image).ellipse((3, 3, *rng.integers(8, 19, 2).tolist()), fill="white")
        return image

    settings = replace(quick(batch=BatchSettings(images=2)), data="folder", root=write(tmp_path / "discs", white_disc))
    told = "".join(plan_of(build_parts(settings)))
    assert "16 of 16 images looked at are of one colour: if they are light on transparent, --model.background" in told
    seen = replace(settings, model=replace(settings.model, background="black"))
    assert "of one colour" not in "".join(plan_of(build_parts(seen)))


def test_what_a_crop_leaves_out_is_told(tmp_path: Path, quick: Quick) -> None:
    """Images of many shapes are seen through a square: of tall ones the ends are not seen."""

    def page(rng: np.random.Generator) -> Image.Image:
        return Image.new("RGB", (30, int(rng.integers(40, 80))), tuple(rng.integers(0, 255, 3).tolist()))

    settings = quick(batch=BatchSettings(images=2))
    settings = replace(settings, data="folder", root=write(tmp_path / "pages", page))
    settings = replace(settings, model=replace(settings.model, image_size=None))
    told = "".join(plan_of(build_parts(settings)))
    assert "% is seen, its middle: --model.fit pad shows whole images" in told
    whole = replace(settings, model=replace(settings.model, fit="pad"))
    assert "is seen, its middle" not in "".join(plan_of(build_parts(whole)))


def test_few_classes_are_all_in_a_batch_and_it_is_said(quick: Quick) -> None:
    """The default is 16 classes if there are as many. A given number is kept, or refused if it does not fit."""
    parts = build_parts(quick(batch=BatchSettings(images=2), memory=MemorySettings(size=12)))
    assert parts.settings.batch == BatchSettings(6, 2)
    assert "(there are 6 training classes with two images)" in "".join(plan_of(parts))
    with pytest.raises(DataError, match="a batch of 7 classes needs as many training classes with two images"):
        build_parts(quick(batch=BatchSettings(7, 2)))
    with pytest.raises(SettingError, match="a memory of 11 rows is too small for batches of 12 images"):
        build_parts(quick(batch=BatchSettings(images=2), memory=MemorySettings(size=11)))


def test_many_classes_fill_a_batch_of_sixteen(characters: DataSet) -> None:
    settings, reasons = decide(Settings(), characters)
    assert settings.batch == BatchSettings(16, 4)
    assert "batch.classes" not in reasons


def test_a_class_with_one_image_fills_no_batch(quick: Quick, characters: DataSet) -> None:
    labels = torch.tensor([0, 0, 1, 1, 1, 2, 3, 4, 4])
    few = replace(characters, train=replace(characters.train, labels=labels, ids=characters.train.ids[: len(labels)]))
    settings, reasons = decide(quick(batch=BatchSettings(images=2)), few)
    assert settings.batch.classes == 3
    assert reasons["batch.classes"] == "there are 3 training classes with two images"


def write(root: Path, draw: Callable[[np.random.Generator], Image.Image]) -> Path:
    rng = np.random.default_rng(0)
    for number in range(8):
        (root / str(number)).mkdir(parents=True)
        for image in range(4):
            draw(rng).save(root / str(number) / f"{image}.png")
    return root


def character(rng: np.random.Generator) -> Image.Image:
    image = Image.new("L", (40, 30), 250)
    ImageDraw.Draw(image).line([(9, 8), (20, 22), tuple(map(int, rng.integers(8, 24, 2)))], fill=10, width=3)
    return image


def noise(rng: np.random.Generator, channels: int = 3) -> Image.Image:
    return Image.fromarray(rng.integers(0, 256, (30, 40, channels), dtype=np.uint8).squeeze())


def sticker(rng: np.random.Generator) -> Image.Image:
    """Colours on a plain background, like an emoji or a product photo."""
    image = Image.new("RGB", (40, 30), "white")
    image.paste(noise(rng).resize((20, 14)), (10, 8))
    return image


KINDS = {
    "characters": (character, Augment("photo", mirror=0.0)),
    "photographs": (noise, Augment("photo")),
    "grey photographs": (lambda rng: noise(rng, 1), Augment("photo")),
    "products on white": (sticker, Augment("photo")),
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_augmentation_follows_the_images(kind: str, tmp_path: Path, quick: Quick) -> None:
    draw, augment = KINDS[kind]
    settings = quick(root=write(tmp_path / "images", draw))
    decided, reasons = decide(settings, load_data(settings))
    assert decided.augment == augment
    why = "without colour on a plain background" if kind == "characters" else "have colour or a busy background"
    assert why in reasons["augment.policy"]
    assert decide(decided, load_data(settings)) == (decided, {})


def test_glyphs_are_drawn(glyphs: DataSet) -> None:
    assert decide(Settings(data="glyphs"), glyphs)[0].augment.policy == "drawn"


def test_fields_that_are_given_stay_and_a_policy_that_is_given_is_not_asked_about(tmp_path: Path, quick: Quick) -> None:
    settings = quick(root=write(tmp_path / "images", character), augment=Augment(shift=0.3))
    assert decide(settings, load_data(settings))[0].augment == Augment("photo", mirror=0.0, shift=0.3)
    mirrored = replace(settings, augment=Augment(mirror=0.5))
    assert decide(mirrored, load_data(mirrored))[0].augment == Augment("photo", mirror=0.5)
    named = replace(settings, augment=Augment("paper"))
    assert decide(named, load_data(named)) == (named, {})


@pytest.mark.parametrize(
    ("sizes", "size"),
    [
        ([(32, 32)] * 9, 32),
        ([(348, 348)] * 9, 64),
        ([(60, 80)] * 9, "80x60"),
        ([(64, 40)] * 9, "40x64"),
        ([(600, 800)] * 9, "84x64"),
        ([(8, 8)] * 9, 16),
        ([(640, 300)] * 9, "60x132"),
        ([(400, 40)] * 9, "28x288"),  # a strip: seen whole, with as many pixels as two squares
        ([(30, 9000)] * 9, "364x24"),  # a longer strip, which loses its ends
        ([(348, 348)] * 5 + [(348, 464)] * 4, 64),  # images of several shapes
    ],
)
def test_a_network_that_takes_any_size_sees_the_files_as_they_are(
    sizes: list[tuple[int, int]], size: int | str
) -> None:
    chosen, reason = size_for(sizes)
    assert chosen == size
    assert ("a larger --model.image_size shows more" in reason) == (min(sizes[0]) > 64)


def test_the_size_of_a_backbone_with_one_is_its_own(tmp_path: Path, quick: Quick) -> None:
    settings = quick(root=write(tmp_path / "images", noise), model=ModelSettings("resnet18", dim=8))
    assert decide(settings, load_data(settings))[0].model.image_size is None
    small = quick(root=tmp_path / "images", model=ModelSettings(dim=8))
    assert decide(small, load_data(small))[0].model.image_size == "32x40"


def test_a_run_keeps_what_was_decided_with_its_reason_and_a_resumed_one_takes_it(
    tmp_path: Path, quick: Quick, console: Console
) -> None:
    settings = quick(root=write(tmp_path / "images", character), model=ModelSettings(dim=8))
    parts = build_parts(settings)
    assert "augmentation photo: crop 0.7" in "\n".join(plan_of(parts))
    fit(parts, tmp_path / "run", console)
    config = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())
    assert (config["augment"]["policy"], config["augment"]["mirror"]) == ("photo", 0.0)
    assert config["decided"] == runs.read_decided(tmp_path / "run") == parts.reasons
    assert set(parts.reasons) == {"augment.policy", "model.image_size"}
    again = build_parts(Settings.from_dict(runs.read_config(tmp_path / "run")))
    assert again.settings == parts.settings
    assert again.reasons == {}


def test_both_arms_of_a_comparison_take_one_decision(tmp_path: Path, quick: Quick, console: Console) -> None:
    settings = quick(root=write(tmp_path / "images", character), steps=6, start=3)
    compare(settings, tmp_path / "out", console, seeds=1, equal_time=False)
    kept = [runs.read_config(path.parent) for path in (tmp_path / "out").glob("*/config.yaml")]
    assert [one["augment"]["mirror"] for one in kept] == [0.0, 0.0]
    assert "augment.policy" in runs.read_decided(tmp_path / "out")


def test_inspect_shows_what_the_network_sees(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root, sheet = write(tmp_path / "images", character), tmp_path / "new" / "sheet.png"
    assert main(["inspect", str(root), "--augmented", str(sheet)]) == 0
    told = capsys.readouterr().out
    assert "augmentation photo: crop 0.7" in told
    assert "what the network sees" in told
    with Image.open(sheet) as image:
        assert image.width > 8 * 64
    assert main(["inspect", str(root), "--augmented", str(sheet), "--augment.policy", "none"]) == 0
    assert "nothing changed" in capsys.readouterr().out
    assert main(["inspect", str(root), "--augmented", str(tmp_path / "sheet.jpg")]) == 2
    assert "--augmented" in capsys.readouterr().err
