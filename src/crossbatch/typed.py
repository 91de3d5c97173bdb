"""A path as it is typed in a shell, for commands that a message proposes."""

import os
import shlex


def typed(path: str | os.PathLike[str]) -> str:
    """The path, quoted where it has spaces or other signs that a shell takes apart."""
    return shlex.quote(os.fspath(path))
