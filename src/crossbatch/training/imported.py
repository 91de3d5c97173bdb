"""A class of somebody else, by its path. Only a command line or a file given to it may name one."""

import importlib
from typing import Any

from crossbatch.errors import SettingError


def imported(path: str, option: str) -> type[Any]:
    """The class `module.Class`; refuses what is none, in the name of the option that gave it."""
    module, _, name = path.rpartition(".")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, ValueError, AttributeError) as error:
        raise SettingError(f"{option} {path} cannot be imported ({error}): give a class path") from error
    if not isinstance(found, type):
        raise SettingError(f"{option} {path} is no class: give a class path")
    return found
