"""Text that is safe to print: names of files and labels may come from a stranger and contain control characters."""

import re
from pathlib import Path

CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def harmless(text: str, *, keep: str = "") -> str:
    """Escape the control characters of a text as Python does, except those in `keep`."""
    return CONTROLS.sub(lambda one: one[0] if one[0] in keep else one[0].encode("unicode_escape").decode(), text)


def shown(path: Path | str) -> str:
    """A path as one line of text for any file or terminal: control characters and bytes not in UTF-8 are escaped."""
    return harmless(str(path).encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace"))
