"""A data set from a user's function, checked before it is used."""

import inspect
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from crossbatch.data.data_set import DataSet, Part, Search
from crossbatch.data.split import Split
from crossbatch.errors import CrossBatchError, DataError


def load(name: str, loader: Callable[..., Any], root: Path | None, split: Split | None) -> DataSet:
    """Call `loader(root, split)` and return its data set; `DataError` if it fails or its result does not fit."""
    try:
        inspect.signature(loader).bind(root, split)
    except TypeError as error:
        raise DataError(f"--data {name} is called with (root, split), but does not take them ({error})") from error
    try:
        loaded = loader(root, split)
    except CrossBatchError:
        raise
    except Exception as error:  # a user's function may raise anything
        frame = traceback.extract_tb(error.__traceback__)[-1]
        reason = f"{type(error).__name__}: {error}, in line {frame.lineno} of {frame.filename}"
        raise DataError(f"--data {name} failed ({reason})" + ("; it got no ROOT" if root is None else "")) from error
    if not isinstance(loaded, DataSet):
        raise DataError(
            f"--data {name} returned {type(loaded).__name__}: it must return a crossbatch.data.data_set.DataSet"
        )
    for part_name, part in _parts(loaded).items():
        _refuse_unfit(f"the {part_name} part of --data {name}", part, len(loaded.images), len(loaded.class_names))
    return loaded


def _parts(loaded: DataSet) -> dict[str, Any]:
    parts: dict[str, Any] = {"training": loaded.train, "validation": loaded.validation}
    for name, search in loaded.tests.items():
        if not isinstance(search, Search):
            raise DataError(f"the test {name!r} is {type(search).__name__}: it must be a Search(query, gallery)")
        parts |= {f"{name} query": search.query}
        parts |= {} if search.gallery is None else {f"{name} gallery": search.gallery}
    return parts


def _refuse_unfit(what: str, part: Any, images: int, classes: int) -> None:
    if not isinstance(part, Part):
        raise DataError(f"{what} is {type(part).__name__}: it must be a Part(labels, ids)")
    for name, values, count in (("labels", part.labels, classes), ("ids", part.ids, images)):
        if not isinstance(values, torch.Tensor) or values.dtype != torch.int64 or values.ndim != 1:
            raise DataError(
                f"{what} has {name} that are no tensor int64 [images]: torch.tensor([…]) makes one of a list"
            )
        if len(values) and not 0 <= int(values.min()) <= int(values.max()) < count:
            bounds = f"{name} from {int(values.min())} to {int(values.max())}"
            raise DataError(f"{what} has {bounds}: there are {images} images and {classes} class names, counted from 0")
    if len(part.labels) != len(part.ids):
        raise DataError(f"{what} has {len(part.labels)} labels and {len(part.ids)} ids: one of each for each image")
