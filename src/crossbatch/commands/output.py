"""The output of commands: text and tables for people, JSON for programs, never both on standard output."""

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

from crossbatch.errors import RunError, SettingError
from crossbatch.harmless import harmless
from crossbatch.launched import started_rank

FILE_WIDTH = 120  # least width, in columns, of a table written to a file or a pipe
NUMBER_WIDTH = 12  # a table column up to this wide holds numbers
WORDS_WIDTH = 8  # a column of words keeps this width while numbers fit whole
GAP = 3  # characters between two columns; one fewer if the table is too wide


def console_for(as_json: bool) -> Console:
    """The console for a command's messages: on standard error if JSON is printed on standard output.

    Of several processes, only the first prints.
    """
    # Print file names and labels unchanged: without markup, names of emoji, or line breaks.
    plain: dict[str, Any] = {"markup": False, "emoji": False, "highlight": False, "soft_wrap": True}
    console = _Harmless(stderr=as_json, quiet=started_rank() > 0, **plain)
    if not console.is_terminal:
        console.width = max(console.width, FILE_WIDTH)
    return console


class _Harmless(Console):
    """A console that escapes control characters, with which a file name could manipulate the terminal."""

    def print(self, *objects: Any, **options: Any) -> None:
        """Print as rich does, with control characters of strings escaped."""
        super().print(*(harmless(part, keep="\n\t") if isinstance(part, str) else part for part in objects), **options)


def refuse_below_file(place: Path) -> None:
    """Refuse an output path below a file."""
    above = next(parent for parent in place.absolute().parents if parent.exists())
    if not above.is_dir():
        raise SettingError(f"{place} lies below {above}, which is a file: name a place in a folder")


def refuse_read_only(folder: Path, way_out: str) -> None:
    """Refuse to write into a folder that is read-only, or lies in one; `way_out`: what works instead."""
    above = next(place for place in (folder.absolute(), *folder.absolute().parents) if place.exists())
    if not os.access(above, os.W_OK):
        raise RunError(f"{folder} cannot be written to: {way_out}")


@contextmanager
def while_read() -> Iterator[None]:
    """Flush standard output at the end; if its reader has closed it, exit with status 1, as rich's consoles do."""
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the rest of the output is discarded
        raise SystemExit(1) from None


@contextmanager
def continuable() -> Iterator[None]:
    """If the user interrupts the command, the message says that the same command continues it."""
    try:
        yield
    except KeyboardInterrupt as stopped:
        raise type(stopped)("the same command continues it") from None


def print_json(value: Any) -> None:
    """Print one JSON value on standard output."""
    with while_read():
        print(json.dumps(value, indent=1, ensure_ascii=False))


def print_table(console: Console, title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table, with words aligned left and numbers right; a cell that is too wide continues on the next line."""
    rows = [[harmless(cell) for cell in row] for row in rows]
    cells = [max(map(cell_len, column)) if column else 1 for column in zip(*rows, strict=True)] or [1] * len(header)
    numbers = [place > 0 and widest <= NUMBER_WIDTH for place, widest in enumerate(cells)]
    natural = [max(cell_len(head), widest, 1) for head, widest in zip(header, cells, strict=True)]
    tight = sum(natural) + 2 + GAP * (len(header) - 1) > console.width  # 2: one edge at each side
    room = console.width - 2 - (GAP - tight) * (len(header) - 1)
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1), collapse_padding=tight)
    for head, number, width in zip(header, numbers, _fitted(natural, header, cells, numbers, room), strict=True):
        table.add_column(head, justify="right" if number else "left", overflow="fold", width=width)
    for row in rows:
        table.add_row(*row)
    console.print(title, style="italic")  # rich would wrap a table's own title to the width of the table
    console.print(table, soft_wrap=False)


def _fitted(
    natural: Sequence[int], header: Sequence[str], cells: Sequence[int], numbers: Sequence[bool], room: int
) -> list[int]:
    """Column widths that fit into `room`.

    Number columns shrink first, to the longest word of their head; then columns of words; then numbers are folded.
    """
    by_word = [max([widest, *map(cell_len, head.split())]) for head, widest in zip(header, cells, strict=True)]
    narrow = [min(width, WORDS_WIDTH) for width in natural]
    stages = (
        [head if number else width for head, width, number in zip(by_word, natural, numbers, strict=True)],
        [head if number else width for head, width, number in zip(by_word, narrow, numbers, strict=True)],
        [max(1, cell) if number else width for cell, width, number in zip(cells, narrow, numbers, strict=True)],
        [1] * len(natural),
    )
    widths = list(natural)
    for least in stages:
        while sum(widths) > room and widths != least:
            wide = [place for place, width in enumerate(widths) if width > least[place]]
            widths[max(wide, key=widths.__getitem__)] -= 1
    return widths
