"""A loss by its short name, where options in YAML or in Python name one."""

from collections.abc import Mapping
from typing import Any

from crossbatch.errors import SettingError
from crossbatch.loss_names import CLASSES


def with_class(plain: Mapping[str, Any]) -> dict[str, Any]:
    """The same options, the loss as its class and the arguments of that, where it is a short name."""
    options = dict(plain)
    loss = options.get("loss")
    if isinstance(loss, str):
        options["loss"] = {"class_path": class_path(loss), "init_args": {}}
    elif isinstance(loss, Mapping) and isinstance(loss.get("class_path"), str):
        options["loss"] = {**loss, "class_path": class_path(loss["class_path"])}
    return options


def class_path(name: str) -> str:
    """The class of a loss by its short name or the name of its class; a class path is left as it is."""
    kind = CLASSES.get(name, name)
    if kind in CLASSES.values():
        return f"crossbatch.{kind}"
    if "." not in name:
        raise SettingError(
            f"there is no loss {name!r}: choose one of {', '.join(CLASSES)}, or give the class path of your own"
        )
    return name
