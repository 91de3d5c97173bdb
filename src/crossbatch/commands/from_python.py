"""The commands train and compare as Python functions, with the same options, checked the same way."""

import os
from typing import Any

from crossbatch.commands.options import command_named, names_of, parse, parser_for
from crossbatch.commands.output import console_for
from crossbatch.errors import SettingError, of_place


def train(root: str | os.PathLike[str] | None = None, **options: Any) -> dict[str, Any]:
    """Train an embedding model into a run folder; returns its summary, as `crossbatch train --json` prints it.

    Args:
        root: Your images: a folder, or a table; without it, glyphs are drawn.
        options: Options of `crossbatch train`; a group of options is a dictionary.

    Returns:
        The content of `summary.json`, and the run folder as `run`.

    Raises:
        CrossBatchError: Bad input, in one sentence, as the command line prints it.

    Examples:
        >>> summary = crossbatch.train("photos/", out="runs/photos", loss="triplet", memory={"size": 0})
    """
    return _call("train", root, options)


def compare(root: str | os.PathLike[str] | None = None, **options: Any) -> dict[str, Any]:
    """Train without and with memory, tuned alike; returns what `crossbatch compare --json` prints.

    Args:
        root: Your images: a folder, or a table; without it, glyphs are drawn.
        options: Options of `crossbatch compare`; a group of options is a dictionary.

    Returns:
        The content of `comparison.json`, and the path of the report as `report`.

    Raises:
        CrossBatchError: Bad input, in one sentence, as the command line prints it.

    Examples:
        >>> result = crossbatch.compare("photos/", seeds=1, optim={"steps": 500})
    """
    return _call("compare", root, options)


def _call(name: str, root: str | os.PathLike[str] | None, options: dict[str, Any]) -> dict[str, Any]:
    if root is not None and not isinstance(root, str | os.PathLike):
        raise SettingError(f"root is a path, got {type(root).__name__}: give a folder or a table of images")
    given = options if root is None else {"root": root, **options}
    plain = {option: os.fspath(value) if isinstance(value, os.PathLike) else value for option, value in given.items()}
    lists = {option.removeprefix("--") for option in names_of(parser_for(name), list)}
    parsed, _ = parse(name, {key: [value] if key in lists and _one(value) else value for key, value in plain.items()})
    try:
        result: dict[str, Any] = command_named(name)(**parsed, console=console_for(as_json=False))
    except OSError as error:
        ours = of_place(error)
        if ours is None:
            raise
        raise ours from error
    return result


def _one(value: Any) -> bool:
    """Whether a value is a single item, which stands for a list of one item, as on the command line."""
    return isinstance(value, int | float | str) and not str(value).startswith("[")
