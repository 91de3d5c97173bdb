"""A class or function by its path. Only a command line, or a file given to it, may name one that is not ours."""

import importlib
from typing import Any

from crossbatch.errors import SettingError


def imported(path: str, option: str) -> Any:
    """What `module.name` stands for; refuses what cannot be imported, in the name of the option that gave it."""
    module, _, name = path.rpartition(".")
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, ValueError, AttributeError) as error:
        raise SettingError(f"{option} {path} cannot be imported ({error}): give a class path") from error


def imported_module(name: str, option: str) -> Any:
    """A module, for what it does when it is imported."""
    try:
        return importlib.import_module(name)
    except (ImportError, ValueError) as error:
        raise SettingError(f"{option} {name} cannot be imported ({error}): name a module, as my_networks") from error


def imported_class(path: str, option: str, base: type) -> type[Any]:
    """The class `module.Class`; refuses what is no subclass of `base`."""
    found = imported(path, option)
    if not (isinstance(found, type) and issubclass(found, base)):
        raise SettingError(f"{option} {path} is not a {base.__module__}.{base.__name__}: give the path of such a class")
    return found
