"""The cache folder, which keeps drawn characters and results of checks between runs."""

import os
from pathlib import Path


def cache_folder() -> Path:
    """The folder $CROSSBATCH_CACHE, else `crossbatch` in the user's cache folder."""
    default = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "crossbatch")
    return Path(os.environ.get("CROSSBATCH_CACHE") or default)
