"""The command line: choose the command, run it, and return its exit status."""

import difflib
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import crossbatch
from crossbatch.commands import COMMANDS
from crossbatch.errors import (
    TERMINATED,
    CrossBatchError,
    FailedError,
    MissingExtraError,
    SettingError,
    Terminated,
    of_place,
)
from crossbatch.harmless import harmless
from crossbatch.launched import started_rank, trains

LISTENED = 3.0  # seconds to wait: torchrun ends all processes once one has ended, and the first must print its error
USAGE = "crossbatch COMMAND [options]; crossbatch COMMAND --help; crossbatch --version"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit status.

    0: done. 1: the command failed, or a person stopped it. 2: bad input; one line on standard error says what is wrong.
    143: ended by SIGTERM, with its work saved.
    """
    try:
        return _run(*[*(sys.argv[1:] if arguments is None else arguments), ""])
    except CrossBatchError as error:
        return _refused(error)
    except ModuleNotFoundError as error:
        if (error.name or "crossbatch").startswith("crossbatch"):
            raise
        print(f"crossbatch: {MissingExtraError('this command', str(error.name), 'train')}", file=sys.stderr)
        return 2
    except OSError as error:
        refusal = of_place(error)
        if refusal is None:
            raise
        return _refused(refusal)
    except KeyboardInterrupt as stopped:
        if _first():
            print("; ".join(["crossbatch: stopped", *map(str, stopped.args)]), file=sys.stderr)
        return TERMINATED if isinstance(stopped, Terminated) else 1


def _run(name: str, *rest: str) -> int:
    if name in ("-h", "--help"):
        print(f"usage: {USAGE}", crossbatch.__doc__, *(f"{key:10}{COMMANDS[key]}" for key in COMMANDS), sep="\n")
    elif name == "--version":
        print(f"crossbatch {crossbatch.__version__}")
    elif name not in COMMANDS:
        close = difflib.get_close_matches(name, COMMANDS, 1)
        problem = f"there is no command {name!r}" if name else "a command is missing"
        hint = f"did you mean {close[0]}? There are" if close else "there are"
        raise SettingError(f"{problem}: {hint} {', '.join(COMMANDS)}; crossbatch --help tells what they do")
    else:
        _require_place()
        from crossbatch.commands.command_line import run  # noqa: PLC0415  (imports jsonargparse)

        return run(name, rest[:-1])
    return 0


def _refused(error: CrossBatchError) -> int:
    """Print an error and return the exit status.

    Before a process group exists, all processes meet the same error, so only the first prints it.
    """
    if _first() or trains():
        print(f"crossbatch: {harmless(' '.join(str(error).split()))}", file=sys.stderr)
    else:
        time.sleep(LISTENED)
    return 1 if isinstance(error, FailedError) else 2


def _require_place() -> None:
    """Refuse a working directory that no longer exists: torch cannot be imported in it."""
    try:
        Path.cwd()
    except OSError as error:
        raise SettingError(f"the working directory cannot be used ({error.strerror}): change to another") from error


def _first() -> bool:
    """Whether this is the first of the processes that were started together."""
    return started_rank() == 0


if __name__ == "__main__":
    # `python -m` puts the working directory first in the search path. Installed packages that try to import optional
    # packages would then find files in it: see `imported`.
    if not sys.flags.safe_path and sys.path[:1] in ([""], [str(Path.cwd())]):
        del sys.path[0]
    sys.exit(main())
