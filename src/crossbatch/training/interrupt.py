"""A signal ends a run after the step it is in, so that it can be saved; a second one ends it at once.

Ctrl-C (SIGINT) is a person's; SIGTERM is what a scheduler, a cluster or a spot machine sends before it takes the
machine away. Under SLURM with requeueing the signal to requeue, SIGUSR1, is Lightning's.
"""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import lightning as L

from crossbatch.errors import TERMINATED

SIGNALS = (signal.SIGINT, signal.SIGTERM)
SAME = 0.5  # seconds: a scheduler that signals a process and its group too means one thing


class Stopped(BaseException):
    """The run is saved and ends where it is, as it was asked to; no handler of errors on the way takes it for one."""


class Asked:
    """Whether the run has been asked to stop, and by which signal."""

    def __init__(self) -> None:
        self.signal: int | None = None
        self.nothing_to_save = True  # nothing is trained yet: the run may end wherever it is
        self._at = 0.0
        self._listening = False

    @property
    def yes(self) -> bool:
        """Whether it has."""
        return self.signal is not None

    @property
    def by(self) -> str | None:
        """The name of the signal."""
        return None if self.signal is None else signal.Signals(self.signal).name

    def on_any(self, trainer: L.Trainer) -> bool:
        """Whether any process of the run has been asked: all of them then stop at the same step."""
        if trainer.world_size == 1:
            return self.yes
        return bool(trainer.strategy.reduce_boolean_decision(self.yes, all=False))

    def ask(self, number: int, *_: Any) -> None:
        """The handler of both signals."""
        if self.yes:
            if number == signal.SIGINT:
                raise KeyboardInterrupt
            if time.monotonic() - self._at > SAME:
                os._exit(TERMINATED)
            return
        self.signal, self._at = number, time.monotonic()
        if self.nothing_to_save:
            raise Stopped

    def listen(self) -> None:
        """Be the one whom the signals go to; Lightning puts itself in front when it starts."""
        if self._listening:
            for one in SIGNALS:
                signal.signal(one, self.ask)


@contextmanager
def stop_when_asked(asked: Asked) -> Iterator[None]:
    """Listen within. Around the whole of `fit`: Lightning puts back the handlers that it finds when it starts."""
    before = {}
    try:
        for one in SIGNALS:
            before[one] = signal.signal(one, asked.ask)
        asked._listening = True
    except ValueError:  # only the main thread may listen
        yield
        return
    try:
        yield
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)


def leave_signals_to_the_run(_: int) -> None:
    """In a loader process: a signal to the whole group is for the run, which needs its loaders to end its step.

    They end with the run: it tells them to, and they look whether it is still there.
    """
    for one in SIGNALS:
        signal.signal(one, signal.SIG_IGN)
