"""Fixtures that tests share."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import settings as property_settings
from jaxtyping import config
from PIL import Image

from crossbatch.data import glyphs as drawn
from crossbatch.data.cache import cache_folder
from crossbatch.data.data_set import DataSet

for profile, cases in {"quick": 10, "usual": 50, "long": 500}.items():
    property_settings.register_profile(profile, max_examples=cases, deadline=None)
property_settings.load_profile("usual")


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


@pytest.fixture
def as_users_run_it() -> Iterator[None]:
    """Turn shape checks off, as outside of tests. Input that does not fit must then raise an error of crossbatch."""
    config.update("jaxtyping_disable", True)
    yield
    config.update("jaxtyping_disable", False)


@pytest.fixture(scope="session")
def glyphs(tmp_path_factory: pytest.TempPathFactory) -> DataSet:
    """The built-in data set: from the user's cache if it is there, otherwise drawn once into a test folder."""
    folder = tmp_path_factory.mktemp("cache")
    for cached in cache_folder().glob("glyphs-*.npz"):
        (folder / cached.name).symlink_to(cached)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CROSSBATCH_CACHE", str(folder))
        return drawn.load()


@pytest.fixture(scope="session")
def characters(glyphs: DataSet) -> DataSet:
    """A part of glyphs: large enough that a network learns in seconds, and hard enough that bad settings fail."""
    kept = glyphs.train.labels.unique()[:120]
    train = glyphs.train.select(torch.isin(glyphs.train.labels, kept))
    held = glyphs.validation.labels.unique()[:60]
    return replace(glyphs, train=train, validation=glyphs.validation.select(torch.isin(glyphs.validation.labels, held)))


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve classes of six 16×16 pictures. Each class is a pattern, and each picture is the pattern with noise."""
    root, draw = tmp_path_factory.mktemp("pictures"), np.random.default_rng(0)
    for number in range(12):
        pattern = draw.integers(0, 256, (4, 4, 3)).repeat(4, 0).repeat(4, 1)
        folder = root / f"class {number}"
        folder.mkdir()
        for i in range(6):
            noisy = (pattern + draw.normal(0, 20, pattern.shape)).clip(0, 255).astype(np.uint8)
            Image.fromarray(noisy).save(folder / f"{i}.png")
    return root
