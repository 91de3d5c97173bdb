"""Text without what moves a cursor or clears a screen: names of files and labels may be a stranger's."""

import re

CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def harmless(text: str, *, keep: str = "") -> str:
    """The same with its control characters as Python spells them, but for those to keep."""
    return CONTROLS.sub(lambda one: one[0] if one[0] in keep else one[0].encode("unicode_escape").decode(), text)
