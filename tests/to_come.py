"""What README and docs name before it is here. Whatever has arrived is tested; when all has, this file goes."""

from pathlib import Path

from crossbatch import __all__ as public
from crossbatch.commands import COMMANDS

ROOT = Path(__file__).parents[1]
NEW_COMMANDS = {"index", "search", "serve", "embed", "export", "tune"} - set(COMMANDS)
NEW_NAMES = {"load"} - set(public)
NEW_FILES = {
    path
    for path in (
        "docs/search-page.png",
        *(f"docs/how-to/{name}.md" for name in ("resume", "scale", "search", "tune", "use-a-model")),
    )
    if not (ROOT / path).exists()
}
