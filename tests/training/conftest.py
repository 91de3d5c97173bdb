"""Runs on small pictures that take a second."""

from collections.abc import Callable
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from crossbatch.training.settings import (
    BatchSettings,
    LoopSettings,
    MemorySettings,
    ModelSettings,
    OptimSettings,
    Settings,
)


@pytest.fixture
def quick(pictures: Path) -> Callable[..., Settings]:
    """A function that makes settings of a short run, changed by keyword: `steps`, `start`, …"""

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
