"""Tests of the progress bar: at any width the most important parts stay, and a pipe gets plain lines."""

from collections.abc import Callable
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console
from rich.progress import Progress
from rich.text import Text

from crossbatch.training.progress_bar import fitting, shortened
from crossbatch.training.run_parts import build_parts
from crossbatch.training.settings import Settings
from crossbatch.training.train import fit

NAME = "without-memory-equal-time-lr0.001-seed0"


def shown(settings: Settings, run: Path, width: int, *, terminal: bool) -> str:
    """What a run prints, without colours."""
    told = Console(file=StringIO(), width=width, force_terminal=terminal, highlight=False)
    fit(build_parts(settings), run, told)
    return "".join(Text.from_ansi(line).plain + "\n" for line in told.file.getvalue().splitlines())


@pytest.mark.parametrize(("width", "rest"), [(80, False), (200, True)])
def test_what_matters_most_is_there_at_any_width_and_the_rest_where_it_has_room(
    quick: Callable[..., Settings], tmp_path: Path, width: int, rest: bool
) -> None:
    told = shown(quick(), tmp_path / NAME, width, terminal=True)
    last = next(line for line in reversed(told.splitlines()) if "12/12" in line)
    for part in ("witho", "lr0.001-seed0", "━", "00:00", "loss ", "val R@1 "):
        assert part in last
    assert ("images/s" in last) == ("memory " in last.partition("12/12")[2]) == rest
    assert told.count("before training: R@1") == 1
    assert "…" not in last.partition("━")[2], "some part is cut off"


def test_the_loss_of_a_short_run_is_there_before_its_tenth_step(
    quick: Callable[..., Settings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the bar is given counts: when a terminal is drawn anew depends on the time."""
    given: dict[int, str] = {}
    monkeypatch.setattr(Progress, "update", lambda *_, completed, told: given.update({completed: told}))
    shown(quick(), tmp_path / "run", 100, terminal=True)
    assert "loss " in given[4]


def test_a_pipe_gets_a_line_a_validation_and_no_escape_codes(quick: Callable[..., Settings], tmp_path: Path) -> None:
    console = Console(file=StringIO(), width=300, force_terminal=False)
    fit(build_parts(quick()), tmp_path / "run", console)
    lines = console.file.getvalue().splitlines()
    assert lines[0].startswith("before training: R@1 ")
    assert [line.split()[:2] for line in lines[1:]] == [["run", f"{step}/12"] for step in (4, 8, 12)]
    assert all("loss " in line and "images/s" in line for line in lines[1:])
    assert not any("\x1b" in line or "\r" in line for line in lines)


def test_names_that_are_too_long_still_tell_runs_apart() -> None:
    names = ("with-memory-lr0.001-seed0", "without-memory-lr0.001-seed0", NAME, NAME.replace("seed0", "seed1"))
    short = {shortened(name, 26) for name in names}
    assert len(short) == len(names)
    assert max(map(len, short)) <= 26


def test_the_first_parts_stay_where_the_last_have_no_room() -> None:
    assert fitting(["loss 1", "R@1 2", "much more"], 14) == "loss 1  R@1 2"
    assert fitting(["loss 1", "R@1 2"], 3) == ""
