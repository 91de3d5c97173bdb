"""The network of a run that starts from the model of another: the same one."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from crossbatch import runs
from crossbatch.errors import SettingError
from crossbatch.models.checkpoint import described
from crossbatch.training.settings import Settings


def with_model_of(init: Path, settings: Settings, given: Mapping[str, Any]) -> Settings:
    """The settings with the network of a trained model; refuses options, `given` by name, that say another.

    Which images it sees, and how large, is taken from it too where nothing is said.
    """
    runs.refuse_several(init)
    found = described(init)
    size = found.preprocessing.get("size")
    own: dict[str, Any] = {"backbone": found.backbone, "dim": found.dim, "pooling": found.pooling}
    for name, value in own.items():
        wanted = getattr(settings.model, name)
        if name in given and wanted != value:
            raise SettingError(f"{init} has --model.{name} {value}, got {wanted}: leave it out, or --init")
    seen = {"image_size": size if isinstance(size, int) else "x".join(map(str, size or ())) or None, "dims": found.dims}
    own |= {name: value for name, value in seen.items() if name not in given}
    return replace(settings, model=replace(settings.model, **own))
