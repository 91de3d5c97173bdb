"""Paths in the shell commands that a message suggests."""

import os
import shlex


def typed(path: str | os.PathLike[str]) -> str:
    """The path, quoted for a shell if it has spaces or other special characters."""
    return shlex.quote(os.fspath(path))
