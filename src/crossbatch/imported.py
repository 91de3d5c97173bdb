"""A class or function by its path. Only a command line, or a file given to it, may name one that is not ours."""

import importlib
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from crossbatch.errors import SettingError


def imported(path: str, option: str) -> Any:
    """What `module.name` stands for; refuses what cannot be imported, in the name of the option that gave it."""
    module, _, name = path.rpartition(".")
    try:
        return getattr(_module(module), name)
    except (ImportError, ValueError, AttributeError) as error:
        raise SettingError(f"{option} {path} cannot be imported ({error}): give a class path") from error


def imported_module(name: str, option: str) -> Any:
    """A module, for what it does when it is imported."""
    try:
        return _module(name)
    except (ImportError, ValueError) as error:
        raise SettingError(f"{option} {name} cannot be imported ({error}): name a module, as my_networks") from error


def imported_class(path: str, option: str, base: type) -> type[Any]:
    """The class `module.Class`; refuses what is no subclass of `base`."""
    found = imported(path, option)
    if not (isinstance(found, type) and issubclass(found, base)):
        raise SettingError(f"{option} {path} is not a {base.__module__}.{base.__name__}: give the path of such a class")
    return found


def _module(name: str) -> ModuleType:
    """A module by its name: what is installed, else what lies in the working directory.

    That is looked into for what a person has named, and for nothing else: it may be a folder that somebody has sent,
    and packages try to import optional others, which may lie in it.
    """
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        here = str(Path.cwd())
        if not error.name or not f"{name}.".startswith(f"{error.name}.") or here in sys.path:
            raise
        sys.path.append(here)  # it stays: loader processes import what they are given from there too
        return importlib.import_module(name)
