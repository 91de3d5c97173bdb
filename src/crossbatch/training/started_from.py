"""A run that starts from the model of another run: it has the same network."""

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
    """A sentence for each part with classes that the model was already trained on, by their names.

    `trained`: parts that the new run trains on.
    """
    known, sentences = trained_classes(init), []
    for name, part in loaded.parts.items():
        classes = {loaded.class_names[label] for label in part.labels.unique().tolist()}
        if name not in trained and classes & known:
            sentences.append(
                f"{init} was trained on {len(classes & known):,} of the {len(classes):,} {name} classes, by their "
                "names: R@1 there is not that of unseen classes"
            )
    return sentences


def with_model_of(init: Path, settings: Settings, given: Mapping[str, Any]) -> Settings:
    """The settings with the network of a trained model; refuses options in `given`, by name, that contradict it.

    Options that are not given are taken from the model too: the size, fit and background of images, `dims`, and whether
    BatchNorm is kept.
    """
    runs.refuse_several(init)
    model = described(init)
    size = model.preprocessing.get("size")
    own: dict[str, Any] = {"backbone": model.backbone, "dim": model.dim, "pooling": model.pooling}
    for name, value in own.items():
        wanted = getattr(settings.model, name)
        if name in given and wanted != value:
            raise SettingError(f"{init} has --model.{name} {value}, got {wanted}: leave it out, or --init")
    seen = {"image_size": size if isinstance(size, int) else "x".join(map(str, size or ())) or None, "dims": model.dims}
    seen |= {name: model.preprocessing[name] for name in ("fit", "background") if name in model.preprocessing}
    of_run = (init / runs.CONFIG).is_file()
    seen["freeze_bn"] = (
        Settings.from_dict(runs.read_config(init)).model.keeps_bn if of_run else model.backbone != "small"
    )
    own |= {name: value for name, value in seen.items() if name not in given}
    return replace(settings, model=replace(settings.model, **own))
