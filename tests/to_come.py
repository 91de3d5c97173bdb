"""What README and docs name before it is here. Whatever has arrived is tested; when all has, this file goes."""

from pathlib import Path

from crossbatch.commands import COMMANDS

ROOT = Path(__file__).parents[1]
NEW_COMMANDS = {"index", "search", "serve", "tune"} - set(COMMANDS)
NEW_FILES = {
    path
    for path in (
        "docs/search-page.png",
        *(f"docs/how-to/{name}.md" for name in ("resume", "scale", "search")),
    )
    if not (ROOT / path).exists()
}
