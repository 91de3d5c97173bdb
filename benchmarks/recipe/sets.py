"""The data sets of the recipe study: settings, length of a run, and learning rates to search."""

import argparse
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.study.cells import grocery_listing
from crossbatch.data.split import Split
from crossbatch.training.settings import BatchSettings, DriftSettings, ModelSettings, OptimSettings, Settings

LITE = ModelSettings("tf_efficientnet_lite0")
SCRATCH, TUNED = (0.001, 0.003, 0.01), (0.00003, 0.0001, 0.0003, 0.001)
UNDRIFTED = DriftSettings(sample=0)


@dataclass(frozen=True)
class Set:
    """A data set: settings without its path, steps of a run, learning rates, and approximate seconds of a step."""

    settings: Settings
    steps: int
    rates: tuple[float, ...]
    seconds: float  # of a step on one x86 core; used only to estimate the time of a cell


def _tuned(**model: object) -> Settings:
    """Settings for fine-tuning from ImageNet weights in batches of 32: 8 classes with 4 images each."""
    return Settings(
        batch=BatchSettings(8, 4),
        model=replace(LITE, train_stages=3, freeze_bn=True, **model),  # type: ignore[arg-type]
        optim=OptimSettings(warmup=20),
    )


SETS = {
    "glyphs": Set(Settings(), 2000, SCRATCH, 0.08),
    "hanzi": Set(Settings(script="han"), 2000, SCRATCH, 0.1),
    "emoji": Set(Settings(data="folder", model=ModelSettings(image_size=32)), 2000, SCRATCH, 0.08),
    # 20 of the 40 training classes validate, because validation on 8 classes is at 0.99 within 60 steps.
    "grocery": Set(replace(_tuned(image_size=96), data="csv", split=Split(validation_share=0.5)), 400, TUNED, 0.5),
    "fashion": Set(replace(_tuned(image_size="80x60"), data="folder"), 500, TUNED, 0.35),
    "fashion-scratch": Set(Settings(data="folder", model=ModelSettings(image_size="64x48")), 2000, SCRATCH, 0.25),
    # All 81 classes of the Grocery Store data set, one folder for each class, like a user's photographs.
    "photos": Set(Settings(data="folder", model=ModelSettings(image_size=64)), 500, SCRATCH, 0.5),
    "icons": Set(Settings(data="folder", model=ModelSettings(image_size=32)), 2000, SCRATCH, 0.08),
    # A class of phosphor is an icon in several styles; a class of typefaces is words in one typeface.
    "phosphor": Set(Settings(data="folder", model=ModelSettings(image_size=32)), 1000, SCRATCH, 0.1),
    "typefaces": Set(Settings(data="folder", model=ModelSettings(image_size="24x48")), 1000, SCRATCH, 0.15),
    "patches": Set(Settings(data="folder", model=ModelSettings(image_size=32)), 2000, SCRATCH, 0.08),
}


def add_places(parser: argparse.ArgumentParser) -> None:
    """Add an option for the path of each data set that is not drawn by the package, and of the weights."""
    for name in (
        "fonts",
        "emoji",
        "grocery",
        "fashion",
        "icons",
        "patches",
        "phosphor",
        "photos",
        "typefaces",
        "weights",
    ):
        parser.add_argument(f"--{name}", type=Path)


def settings_of(name: str, options: argparse.Namespace) -> Settings:
    """The settings of a data set with its path, which must be given."""
    settings = replace(SETS[name].settings, drift=UNDRIFTED)
    if settings.model.backbone != "small":
        settings = replace(settings, model=replace(settings.model, weights=_given(options, "weights", name)))
    if name == "glyphs":
        return settings
    if name == "hanzi":
        return replace(settings, fonts=[_given(options, "fonts", name)])
    root = _given(options, name.removesuffix("-scratch"), name)
    listed = SETS[name].settings.data == "csv"
    return replace(settings, root=grocery_listing(root, options.out) if listed else root)


def _given(options: argparse.Namespace, option: str, name: str) -> Path:
    found: Path | None = getattr(options, option)
    if found is None:
        raise SystemExit(f"{name} needs its place: --{option}")
    return found
