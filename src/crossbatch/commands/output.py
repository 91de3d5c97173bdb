"""What commands print: tables for people, JSON for programs, never both on standard output."""

import json
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table


def console_for(as_json: bool) -> Console:
    """Where a command tells how it goes: standard error when standard output belongs to JSON."""
    return Console(stderr=as_json)


def print_json(value: Any) -> None:
    """Print one JSON value on standard output."""
    print(json.dumps(value, indent=1, ensure_ascii=False))


def print_table(console: Console, title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table; the first column is text, the others are numbers."""
    table = Table(title=title, title_justify="left")
    for i, name in enumerate(header):
        table.add_column(name, justify="left" if i == 0 else "right", no_wrap=i > 0)
    for row in rows:
        table.add_row(*row)
    console.print(table)
