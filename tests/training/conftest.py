"""A folder of small pictures, and runs on it that take a second."""

from collections.abc import Callable
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from crossbatch.training.settings import (
    BatchSettings,
    LoopSettings,
    MemorySettings,
    ModelSettings,
    OptimSettings,
    Settings,
)


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve classes of six 16×16 pictures: a pattern a class, noise a picture."""
    root, draw = tmp_path_factory.mktemp("pictures"), np.random.default_rng(0)
    for number in range(12):
        pattern = draw.integers(0, 256, (4, 4, 3)).repeat(4, 0).repeat(4, 1)
        folder = root / f"class {number}"
        folder.mkdir()
        for i in range(6):
            noisy = (pattern + draw.normal(0, 20, pattern.shape)).clip(0, 255).astype(np.uint8)
            Image.fromarray(noisy).save(folder / f"{i}.png")
    return root


@pytest.fixture
def quick(pictures: Path) -> Callable[..., Settings]:
    """Settings of a short run; `steps`, `start`, … by name."""

    def build(steps: int = 12, start: int = 4, size: int | None = None, **changes: object) -> Settings:
        options = {
            "data": "folder",
            "root": pictures,
            "batch": BatchSettings(3, 2),
            "memory": MemorySettings(size=size, start=start),
            "model": ModelSettings(dim=8, image_size=16),
            "optim": OptimSettings(steps=steps, warmup=2),
            "loop": LoopSettings(check_every=4, accelerator="cpu", workers=0),
        }
        return Settings(**{**options, **changes})

    return build


@pytest.fixture
def console() -> Console:
    return Console(file=StringIO(), width=200)
