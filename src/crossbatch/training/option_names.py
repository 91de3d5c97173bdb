"""Options as they are named now, from a file or a call that names them as they were, or a loss by its short name."""

from collections.abc import Mapping
from typing import Any

from crossbatch.errors import SettingError
from crossbatch.losses import LOSSES

GONE = {"max_drift", "limit_age"}  # of the memory


def as_they_acted(plain: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a run of any version, so that this one does what that one did."""
    options = _with_what_was_fixed(current(plain))
    loop, augment = options.get("loop"), options.get("augment")
    if isinstance(loop, Mapping) and loop.get("check_every") == 0:  # looks every 0 steps were those by default
        options["loop"] = {**loop, "check_every": None}
    ratio = augment.get("crop_ratio") if isinstance(augment, Mapping) else None
    if isinstance(ratio, (int, float)) and 0 <= ratio < 1:  # a ratio below 1 was 1
        options["augment"] = {**options["augment"], "crop_ratio": 1.0}
    return options


def current(plain: Mapping[str, Any]) -> dict[str, Any]:
    """The same options: `loss` is a class with its arguments, and was once a name with `loss_options` beside it.

    A memory once started after a fifth of the steps, or by a measure that is gone, and followed nothing.
    """
    options = dict(plain)
    memory = options.get("memory")
    if isinstance(memory, dict) and memory.keys() & GONE:
        steps = int((options.get("optim") or {}).get("steps", 2000))
        memory = {name: value for name, value in memory.items() if name not in GONE}
        start = steps // 5 if memory.get("start") is None else memory["start"]
        options["memory"] = {"follow": False, **memory, "start": start}
    init_args = options.pop("loss_options", None)
    loss = options.get("loss", "contrastive")
    if isinstance(loss, str) and ("loss" in options or init_args is not None):
        options["loss"] = {"class_path": class_path(loss), "init_args": dict(init_args or {})}
    return options


def class_path(name: str) -> str:
    """The class of a loss by its short name or the name of its class; a class path is left as it is."""
    ours = LOSSES | {kind.__name__: kind for kind in LOSSES.values()}
    if name in ours:
        return f"crossbatch.{ours[name].__name__}"
    if "." not in name:
        raise SettingError(
            f"there is no loss {name!r}: choose one of {', '.join(LOSSES)}, or give the class path of your own"
        )
    return name


def _with_what_was_fixed(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a run that says nothing of augmentation, with what all such runs had.

    Characters were moved a little, all else cropped as in the paper; the small network pooled all places alike.
    """
    if "augment" in options:
        return dict(options)
    found = {**options, "augment": {"policy": "drawn" if options.get("data") == "glyphs" else "paper"}}
    model = options.get("model")
    if isinstance(model, Mapping) and model.get("backbone", "small") == "small" and not model.get("pooling"):
        found["model"] = {**model, "pooling": "avg"}
    return found
