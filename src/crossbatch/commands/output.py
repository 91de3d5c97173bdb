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
from crossbatch.launched import started_rank
from crossbatch.spelt import spelt

FILE_WIDTH = 120  # columns of a table that goes to a file or a pipe
NUMBER_WIDTH = 12  # of the widest number


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
        super().print(*(spelt(one, keep="\n\t") if isinstance(one, str) else one for one in objects), **options)


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
    """Print a table: words to the left, in lines where they need, and numbers to the right, which are never cut off."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1))
    for i, (name, *column) in enumerate(zip(header, *rows, strict=True)):
        widest = max(map(cell_len, column), default=0)
        if i == 0 or widest > NUMBER_WIDTH:
            table.add_column(name, overflow="fold")
        else:
            table.add_column(name, justify="right", no_wrap=True, min_width=widest)
    for row in rows:
        table.add_row(*map(spelt, row))
    console.print(title, style="italic")  # a table would wrap it to its own width
    console.print(table, soft_wrap=False)
