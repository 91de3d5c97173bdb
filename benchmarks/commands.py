"""Run `crossbatch` commands in their own processes, as a user does, but without importing torch anew each time."""

import contextlib
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path

from crossbatch.__main__ import main

SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(["crossbatch.training.train", "crossbatch.commands.train", "jsonargparse"])


@dataclass
class Command:
    """A running command: its process, which leads its own process group, and the file of its output."""

    process: BaseProcess
    told: Path

    def signal(self, number: int, *, group: bool = False) -> None:
        """Send a signal to the process, or to its whole group and to the processes it has started in other groups."""
        started = _started_by(self.process.pid) if group else []  # torchrun gives each process a group of its own
        with contextlib.suppress(ProcessLookupError):
            (os.killpg if group else os.kill)(self.process.pid, number)
        for pid in started:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def wait(self, seconds: float = 600) -> int:
        """Wait for the end and return the exit status, in the convention of `Popen`."""
        self.process.join(seconds)
        if self.process.exitcode is None:
            self.signal(signal.SIGKILL, group=True)
            raise TimeoutError(self.output)
        return self.process.exitcode

    def wait_until(self, there: Callable[[], object], seconds: float = 600) -> bool:
        """Wait until `there()` is true. Return False if the command ends or the time runs out first."""
        end = time.monotonic() + seconds
        while not there():
            if self.process.exitcode is not None or time.monotonic() > end:
                return False
            time.sleep(0.0005)
        return True

    @property
    def output(self) -> str:
        """What the command has written so far."""
        return self.told.read_text(encoding="utf-8", errors="replace")


def start(words: list[str], told: Path, *, processes: int = 1, **environment: str) -> Command:
    """Start `crossbatch WORDS`, with several processes through torchrun. Its output goes to the file `told`."""
    process = SERVER.Process(target=_run, args=(words, str(told), processes, environment))
    process.start()
    return Command(process, told)


@contextlib.contextmanager
def running(words: list[str], told: Path, *, processes: int = 1, **environment: str) -> Iterator[Command]:
    """Start a command and kill it when the block ends, so that it does not outlive a failing test."""
    command = start(words, told, processes=processes, **environment)
    try:
        yield command
    finally:
        if command.process.exitcode is None:
            command.signal(signal.SIGKILL, group=True)
            command.process.join()


def _started_by(pid: int) -> list[int]:
    """The processes that `pid` has started and that are in another group, from Linux's /proc."""
    with contextlib.suppress(OSError):
        children = map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
        return [child for child in children if os.getpgid(child) != os.getpgid(pid)]
    return []


def _run(words: list[str], told: str, processes: int, environment: dict[str, str]) -> None:
    os.setsid()
    os.environ.update(environment)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with Path(told).open("w", buffering=1, encoding="utf-8") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    if processes > 1:
        torchrun = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}", "-m", "crossbatch"]
        os.execv(sys.executable, [sys.executable, *torchrun, *words])  # noqa: S606
    sys.stdout, sys.stderr = (os.fdopen(number, "w", buffering=1, encoding="utf-8") for number in (1, 2))
    sys.exit(main(words))
