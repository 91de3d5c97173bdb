"""A progress bar on standard error for work of more than two seconds, if standard error is a terminal."""

import time
from collections.abc import Iterator, Sequence
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

PATIENCE = 2.0  # seconds
Item = TypeVar("Item")


def watched(items: Sequence[Item], what: str) -> Iterator[Item]:
    """Yield the items and show a progress bar, labelled with `what`."""
    console, began = Console(stderr=True), time.monotonic()
    if not console.is_terminal:
        yield from items
        return
    description = TextColumn("{task.description}", markup=False)
    columns = (BarColumn(bar_width=20), MofNCompleteColumn(), TimeRemainingColumn())
    bar = Progress(description, *columns, console=console, transient=True)
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
