"""Commands as functions, for notebooks and scripts: the same options, checked the same way."""

import os
from typing import Any

from crossbatch.commands.options import command_named, parse
from crossbatch.commands.output import console_for


def train(root: str | os.PathLike[str] | None = None, **options: Any) -> dict[str, Any]:
    """Train an embedding model into a run folder; returns its summary, as `crossbatch train --json` prints it.

    Args:
        root: Your images: a folder, or a table; without it, glyphs are drawn.
        options: Those of `crossbatch train`; a group is a dictionary.

    Returns:
        What is in `summary.json`, and the run folder as `run`.

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
        options: Those of `crossbatch compare`; a group is a dictionary.

    Returns:
        What is in `comparison.json`, and the path of the report as `report`.

    Raises:
        CrossBatchError: Bad input, in one sentence, as the command line prints it.

    Examples:
        >>> result = crossbatch.compare("photos/", seeds=1, optim={"steps": 500})
    """
    return _call("compare", root, options)


def _call(name: str, root: str | os.PathLike[str] | None, options: dict[str, Any]) -> dict[str, Any]:
    given = options if root is None else {"root": root, **options}
    plain = {one: os.fspath(value) if isinstance(value, os.PathLike) else value for one, value in given.items()}
    found, _ = parse(name, plain)
    result: dict[str, Any] = command_named(name)(**found, console=console_for(as_json=False))
    return result
