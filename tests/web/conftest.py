"""Fixtures for the tests of the service."""

import shutil
from pathlib import Path

import pytest
from galleries import indexed, model_in

from crossbatch.encoder import Encoder, load


@pytest.fixture(scope="module")
def home(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A gallery of 24 images in `gallery`, its images in `photos`, and a secret file beside the images."""
    root = tmp_path_factory.mktemp("service")
    for number in range(4):
        shutil.copytree(pictures / f"class {number}", root / "photos" / f"class {number}")
    (root / "photos" / "secret.txt").write_text("hidden words")
    indexed(root / "gallery", model_in(root / "run"), [root / "photos"])
    return root


@pytest.fixture(scope="module")
def model(home: Path) -> Encoder:
    return load(home / "run")
