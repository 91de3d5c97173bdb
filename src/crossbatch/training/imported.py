"""A class of somebody else, by its path. Only a command line or a file given to it may name one."""

import importlib
from typing import Any

from crossbatch.errors import SettingError


def imported(path: str, option: str, base: type) -> type[Any]:
    """The class `module.Class`; refuses what is no subclass of `base`, in the name of the option that gave it."""
    module, _, name = path.rpartition(".")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, ValueError, AttributeError) as error:
        raise SettingError(f"{option} {path} cannot be imported ({error}): give a class path") from error
    if not (isinstance(found, type) and issubclass(found, base)):
        raise SettingError(f"{option} {path} is not a {base.__module__}.{base.__name__}: give the path of such a class")
    return found
