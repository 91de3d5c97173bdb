"""Text without what moves a cursor or clears a screen: names of files and labels may be a stranger's."""

import re
from pathlib import Path

CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def harmless(text: str, *, keep: str = "") -> str:
    """The same with its control characters as Python spells them, but for those to keep."""
    return CONTROLS.sub(lambda one: one[0] if one[0] in keep else one[0].encode("unicode_escape").decode(), text)


def shown(path: Path | str) -> str:
    """A path as one line of text that any file and terminal takes: what is no UTF-8, and controls, are spelt out."""
    return harmless(str(path).encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace"))
