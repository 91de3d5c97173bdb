"""A bar for what takes longer than two seconds, where there is a terminal; it goes to standard error."""

import time
from collections.abc import Iterator, Sequence
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

PATIENCE = 2.0  # seconds
Item = TypeVar("Item")


def watched(items: Sequence[Item], what: str) -> Iterator[Item]:
    """The items, one after the other, with a bar that says what is done with them."""
    console, began = Console(stderr=True), time.monotonic()
    if not console.is_terminal:
        yield from items
        return
    told = TextColumn("{task.description}", markup=False)
    columns = (BarColumn(bar_width=20), MofNCompleteColumn(), TimeRemainingColumn())
    bar = Progress(told, *columns, console=console, transient=True)
    task = bar.add_task(what, total=len(items))
    try:
        for number, item in enumerate(items):
            if number == 0 or time.monotonic() - began < PATIENCE:
                yield item
                continue
            bar.start()  # a second start does nothing
            bar.update(task, completed=number)
            yield item
    finally:
        bar.stop()
