"""The network of a run that starts from the model of another: the same one."""

from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from crossbatch import runs
from crossbatch.data.data_set import DataSet
from crossbatch.errors import SettingError
from crossbatch.models.checkpoint import described
from crossbatch.training.settings import Settings


def trained_classes(model: Path) -> set[str]:
    """Names of the classes that a model was trained on; none where they are not known."""
    return set(described(model).class_names)


def seen_before(init: Path, loaded: DataSet, trained: Collection[str] = ("train",)) -> list[str]:
    """A sentence for each part whose classes the model was trained on already, by their names.

    `trained`: parts that the new run trains on.
    """
    known, told = trained_classes(init), []
    for name, part in loaded.parts.items():
        classes = {loaded.class_names[label] for label in part.labels.unique().tolist()}
        if name not in trained and classes & known:
            told.append(
                f"{init} was trained on {len(classes & known):,} of the {len(classes):,} {name} classes, by their "
                "names: R@1 there is not that of unseen classes"
            )
    return told


def with_model_of(init: Path, settings: Settings, given: Mapping[str, Any]) -> Settings:
    """The settings with the network of a trained model; refuses options, `given` by name, that say another.

    Which images it sees, how large and how fitted, and whether BatchNorm learns, is taken from it too where nothing is
    said.
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
    seen |= {name: found.preprocessing[name] for name in ("fit", "background") if name in found.preprocessing}
    of_run = (init / runs.CONFIG).is_file()
    seen["freeze_bn"] = (
        Settings.from_dict(runs.read_config(init)).model.keeps_bn if of_run else found.backbone != "small"
    )
    own |= {name: value for name, value in seen.items() if name not in given}
    return replace(settings, model=replace(settings.model, **own))
