"""A signal ends a run after its present step, so that it can be saved; a second signal ends it at once.

A person sends SIGINT by Ctrl-C. A scheduler, a cluster or a spot machine sends SIGTERM before it takes the machine
away. Under SLURM with requeueing, Lightning handles the signal to requeue, SIGUSR1.
"""

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from crossbatch.errors import TERMINATED
from crossbatch.launched import started_rank
from crossbatch.processes import Processes

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
        self._heard = False  # another process told of the signal, which may reach this one a moment later
        self._listening = False

    @property
    def yes(self) -> bool:
        """Whether the run has been asked to stop."""
        return self.signal is not None

    @property
    def by(self) -> str | None:
        """The name of the signal, if one came."""
        return None if self.signal is None else signal.Signals(self.signal).name

    def on_any(self) -> bool:
        """Whether any process of the run has been asked: all of them then stop at the same step, by its signal."""
        number = int(Processes().greatest(torch.tensor(self.signal or 0)))
        if number and not self.yes:
            self.signal, self._at, self._heard = number, time.monotonic(), True
        return bool(number)  # and not `self.yes`: a signal that came since is for the next step, in all processes

    def ask(self, number: int, *_: Any) -> None:
        """The handler of both signals."""
        if self.yes:
            again = time.monotonic() - self._at > SAME
            if number == signal.SIGINT and (again or not self._heard):
                raise KeyboardInterrupt
            if number == signal.SIGTERM and again:
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
    if threading.current_thread() is not threading.main_thread():  # only the main thread may listen
        yield
        return
    before = {number: signal.getsignal(number) for number in SIGNALS}
    asked._listening = True
    if started_rank() == 0:  # the others have nothing to save until training starts, and end at once where it refuses
        asked.listen()
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
