"""The folder where what was drawn or checked is kept for the next time."""

import os
from pathlib import Path


def cache_folder() -> Path:
    """$CROSSBATCH_CACHE, else crossbatch in the user's cache."""
    default = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "crossbatch")
    return Path(os.environ.get("CROSSBATCH_CACHE") or default)
