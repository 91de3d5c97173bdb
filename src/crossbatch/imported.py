"""Import a class or function by its path. Only the command line, or a file given to it, may name code of others."""

import importlib
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from crossbatch.errors import SettingError


def imported(path: str, option: str) -> Any:
    """Import the object `module.name`; if that fails, raise an error that names the option it was given with."""
    module, _, name = path.rpartition(".")
    try:
        return getattr(_module(module), name)
    except (ImportError, ValueError, AttributeError) as error:
        raise SettingError(f"{option} {path} cannot be imported ({error}): give a class path") from error


def imported_module(name: str, option: str) -> Any:
    """Import a module for its side effects; if that fails, raise an error that names the option."""
    try:
        return _module(name)
    except (ImportError, ValueError) as error:
        raise SettingError(f"{option} {name} cannot be imported ({error}): name a module, as my_networks") from error


def imported_class(path: str, option: str, base: type) -> type[Any]:
    """Import the class `module.Class`; refuse one that is not a subclass of `base`."""
    imported_object = imported(path, option)
    if not (isinstance(imported_object, type) and issubclass(imported_object, base)):
        raise SettingError(f"{option} {path} is not a {base.__module__}.{base.__name__}: give the path of such a class")
    return imported_object


def _module(name: str) -> ModuleType:
    """Import a module by name: an installed one, otherwise one in the working directory.

    The working directory is searched only for a module that the user named. It may be a folder from a stranger, and
    packages that try to import optional packages would run files in it.
    """
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        folder = str(Path.cwd())
        if not error.name or not f"{name}.".startswith(f"{error.name}.") or folder in sys.path:
            raise
        sys.path.append(folder)  # it stays there, since loader processes import the module too
        return importlib.import_module(name)
