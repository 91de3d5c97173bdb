"""What commands print: tables for people, JSON for programs, never both on standard output."""

import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table

from crossbatch.errors import SettingError
from crossbatch.harmless import harmless
from crossbatch.launched import started_rank

FILE_WIDTH = 120  # columns of a table that goes to a file or a pipe
NUMBER_WIDTH = 12  # of the widest number
WORDS_WIDTH = 8  # that a column of words keeps as long as numbers stay whole
GAP = 3  # signs between two columns; one fewer where a table would be too wide


def console_for(as_json: bool) -> Console:
    """Where a command tells how it goes: standard error when standard output belongs to JSON.

    Of several processes the first alone tells.
    """
    # Names of files and labels are told as they are: none is markup, the name of an emoji, or broken into lines.
    plain: dict[str, Any] = {"markup": False, "emoji": False, "highlight": False, "soft_wrap": True}
    console = _Harmless(stderr=as_json, quiet=started_rank() > 0, **plain)
    if not console.is_terminal:
        console.width = max(console.width, FILE_WIDTH)
    return console


class _Harmless(Console):
    """A console that prints no control character of a name, which could do what it likes with the terminal."""

    def print(self, *objects: Any, **options: Any) -> None:
        """As rich's."""
        super().print(*(harmless(one, keep="\n\t") if isinstance(one, str) else one for one in objects), **options)


def refuse_below_file(place: Path) -> None:
    """Refuse to write to a place that lies below a file."""
    above = next(one for one in place.absolute().parents if one.exists())
    if not above.is_dir():
        raise SettingError(f"{place} lies below {above}, which is a file: name a place in a folder")


@contextmanager
def while_read() -> Iterator[None]:
    """Print on standard output; where nobody reads it any more, end as rich's consoles do."""
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is left of it goes nowhere
        raise SystemExit(1) from None


@contextmanager
def continuable(console: Console) -> Iterator[None]:
    """Say how to go on where a person stops what the same command continues."""
    try:
        yield
    except KeyboardInterrupt:
        console.print("stopped; the same command continues it")
        raise


def print_json(value: Any) -> None:
    """Print one JSON value on standard output."""
    with while_read():
        print(json.dumps(value, indent=1, ensure_ascii=False))


def print_table(console: Console, title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table: words to the left, numbers to the right; what is too wide goes on in the next line."""
    rows = [[harmless(cell) for cell in row] for row in rows]
    cells = [max(map(cell_len, column)) if column else 1 for column in zip(*rows, strict=True)] or [1] * len(header)
    numbers = [place > 0 and widest <= NUMBER_WIDTH for place, widest in enumerate(cells)]
    natural = [max(cell_len(head), widest, 1) for head, widest in zip(header, cells, strict=True)]
    tight = sum(natural) + 2 + GAP * (len(header) - 1) > console.width  # 2: an edge at either side
    room = console.width - 2 - (GAP - tight) * (len(header) - 1)
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1), collapse_padding=tight)
    for head, number, width in zip(header, numbers, _fitted(natural, header, cells, numbers, room), strict=True):
        table.add_column(head, justify="right" if number else "left", overflow="fold", width=width)
    for row in rows:
        table.add_row(*row)
    console.print(title, style="italic")  # a table would wrap it to its own width
    console.print(table, soft_wrap=False)


def _fitted(
    natural: Sequence[int], header: Sequence[str], cells: Sequence[int], numbers: Sequence[bool], room: int
) -> list[int]:
    """Widths that fit side by side. Heads above numbers give way first, by words; then words; numbers last."""
    by_word = [max([widest, *map(cell_len, head.split())]) for head, widest in zip(header, cells, strict=True)]
    narrow = [min(width, WORDS_WIDTH) for width in natural]
    stages = (
        [one if number else width for one, width, number in zip(by_word, natural, numbers, strict=True)],
        [one if number else width for one, width, number in zip(by_word, narrow, numbers, strict=True)],
        [max(1, one) if number else width for one, width, number in zip(cells, narrow, numbers, strict=True)],
        [1] * len(natural),
    )
    widths = list(natural)
    for least in stages:
        while sum(widths) > room and widths != least:
            wide = [place for place, width in enumerate(widths) if width > least[place]]
            widths[max(wide, key=widths.__getitem__)] -= 1
    return widths
