"""A signal ends a run after its present step, so that it can be saved; a second signal ends it at once.

A person sends SIGINT by Ctrl-C. A scheduler, a cluster or a spot machine sends SIGTERM before it takes the machine
away. Under SLURM with requeueing, Lightning handles the signal to requeue, SIGUSR1.
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
SAME = 0.5  # seconds within which two SIGTERM are one: schedulers signal a process and also its group


class Stopped(BaseException):
    """Raised when a run ends because it was asked to; a `BaseException`, so that no handler of errors catches it."""


class Asked:
    """Whether the run has been asked to stop, and by which signal."""

    def __init__(self) -> None:
        self.signal: int | None = None
        self.nothing_to_save = True  # no step is done yet: the run may end anywhere
        self._at = 0.0
        self._listening = False

    @property
    def yes(self) -> bool:
        """Whether the run has been asked to stop."""
        return self.signal is not None

    @property
    def by(self) -> str | None:
        """The name of the signal, if one came."""
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
        """Take the signals back from Lightning, which installs its own handlers when it starts."""
        if self._listening:
            for number in SIGNALS:
                signal.signal(number, self.ask)


@contextmanager
def stop_when_asked(asked: Asked) -> Iterator[None]:
    """Handle the signals within the block; it encloses `fit`, as Lightning restores the handlers found at its start."""
    before = {}
    try:
        for number in SIGNALS:
            before[number] = signal.signal(number, asked.ask)
        asked._listening = True
    except ValueError:  # only the main thread may listen
        yield
        return
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def leave_signals_to_the_run(_: int) -> None:
    """Ignore the signals in a loader process: the run handles them, and needs its loaders to finish the step.

    Loader processes end with the run: the run tells them to, and they check whether it is still there.
    """
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
