"""What tests share."""

from collections.abc import Iterator

import pytest
import torch
from jaxtyping import config

from crossbatch.data import glyphs as drawn
from crossbatch.data.records import DataSet


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


@pytest.fixture
def as_users_run_it() -> Iterator[None]:
    """Shapes unchecked, as outside of tests: what does not fit must then meet an error of ours."""
    config.update("jaxtyping_disable", True)
    yield
    config.update("jaxtyping_disable", False)


@pytest.fixture(scope="session")
def glyphs(tmp_path_factory: pytest.TempPathFactory) -> DataSet:
    """The embedded data set: from the user's cache where it is there, else drawn once into a folder of the tests."""
    folder = tmp_path_factory.mktemp("cache")
    for cached in drawn.cache_folder().glob("glyphs-*.npz"):
        (folder / cached.name).symlink_to(cached)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CROSSBATCH_CACHE", str(folder))
        return drawn.load()
