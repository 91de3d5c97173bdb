"""Ctrl-C ends a run after the step it is in, so that it can be saved; a second one ends it at once."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import lightning as L


class Asked:
    """Whether a person has asked the run to stop."""

    def __init__(self) -> None:
        self.yes = False


@contextmanager
def stop_when_asked(trainer: L.Trainer) -> Iterator[Asked]:
    """Listen within. Around the whole of `fit`: Lightning puts back the handlers that it finds when it starts."""
    asked = Asked()

    def ask(*_: Any) -> None:
        if asked.yes:
            raise KeyboardInterrupt
        asked.yes = trainer.should_stop = True

    try:
        before = signal.signal(signal.SIGINT, ask)
    except ValueError:  # only the main thread may listen
        yield asked
        return
    try:
        yield asked
    finally:
        signal.signal(signal.SIGINT, before)
