"""Short names of losses in options from YAML or Python."""

from collections.abc import Mapping
from typing import Any

from crossbatch.errors import SettingError
from crossbatch.loss_names import CLASSES


def with_class(plain: Mapping[str, Any]) -> dict[str, Any]:
    """The options with a short name of a loss replaced by its class path and arguments."""
    options = dict(plain)
    loss = options.get("loss")
    if isinstance(loss, str):
        options["loss"] = {"class_path": class_path(loss), "init_args": {}}
    elif isinstance(loss, Mapping) and isinstance(loss.get("class_path"), str):
        options["loss"] = {**loss, "class_path": class_path(loss["class_path"])}
    return options


def class_path(name: str) -> str:
    """The class path of a loss, given by its short name, its class name or its class path."""
    kind = CLASSES.get(name, name)
    if kind in CLASSES.values():
        return f"crossbatch.{kind}"
    if "." not in name:
        raise SettingError(
            f"there is no loss {name!r}: choose one of {', '.join(CLASSES)}, or give the class path of your own"
        )
    return name
