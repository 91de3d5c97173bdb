"""Tests that a run that is killed or ended at any moment and resumed ends like a run that was left alone."""

import os
import random
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from benchmarks.commands import SERVER, running
from benchmarks.kills import QUIET, SMALL, differences, end_at_random
from rich.console import Console

from crossbatch import runs
from crossbatch.errors import RunError, Terminated
from crossbatch.training import fill_memory, floor
from crossbatch.training.comparison import train_once
from crossbatch.training.lock import locked
from crossbatch.training.metric_learner import MetricLearner
from crossbatch.training.run_parts import build_parts
from crossbatch.training.settings import DriftSettings, Settings
from crossbatch.training.train import fit

Quick = Callable[..., Settings]


def test_killed_while_saving_and_ended_with_its_group_it_ends_as_if_nothing_had_been(
    pictures: Path, tmp_path: Path
) -> None:
    """The process group includes two loader processes. Locks of ended processes do not block the run."""
    words = [str(pictures), *SMALL.split(), *QUIET.split(), "--optim.steps=100", "--loop.check_every=20"]
    straight, run = tmp_path / "straight", tmp_path / "run"
    with running(["train", *words, "--out", str(straight)], tmp_path / "straight.log") as command:
        assert command.wait() == 0, command.output
    assert end_at_random(words, run, random.Random(0), "kill while saving", 2, 0) == -signal.SIGKILL
    assert runs.has_checkpoint(run)
    assert end_at_random(words, run, random.Random(0), "term", 2, 0.1) == 143
    assert runs.read_json(run / runs.SUMMARY)["ended_by"] == "SIGTERM"
    with running(["train", "--resume", str(run), "--loop.workers=2"], tmp_path / "end.log") as command:
        assert command.wait() == 0, command.output
    assert differences(straight, run) == []
    assert not list(run.rglob("*.partial"))


@pytest.mark.long
@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("seed", range(2))
def test_a_run_ended_at_random_ends_as_one_that_was_not(
    seed: int, workers: int, pictures: Path, tmp_path: Path
) -> None:
    words = [str(pictures), *SMALL.split(), *QUIET.split(), "--optim.steps", "600"]
    straight, run, chance = tmp_path / "straight", tmp_path / "run", random.Random(seed)
    with running(["train", *words, "--out", str(straight)], tmp_path / "straight.log") as command:
        assert command.wait(600) == 0, command.output
    for how in ("kill", "kill while saving", "term") * 3:
        if not runs.is_finished(run):
            end_at_random(words, run, chance, how, workers, longest=1.0)
    with running(["train", "--resume", str(run)], tmp_path / "end.log") as command:
        assert command.wait(600) == 0, command.output
    assert differences(straight, run) == []


def short(quick: Quick) -> Settings:
    return quick(drift=DriftSettings(sample=12))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("straight") / "run"


@pytest.fixture
def straight(place: Path, quick: Quick, console: Console) -> Path:
    """A run that is left alone, trained once."""
    if not place.exists():
        fit(build_parts(short(quick)), place, console)
    return place


def sent(number: int, when: Callable[..., bool], times: int = 1) -> Callable[..., Callable[..., object]]:
    """A decorator that sends a signal to this process before the function, up to `times` times, if `when` is true."""
    left = [times]

    def around(function: Callable[..., object]) -> Callable[..., object]:
        def call(*given: object, **named: object) -> object:
            while left[0] and when(*given):
                left[0] -= 1
                os.kill(os.getpid(), number)
            return function(*given, **named)

        return call

    return around


@contextmanager
def ended(where: Any, name: str, when: Callable[..., bool]) -> Iterator[None]:
    """Send SIGTERM to this process before a call of a function."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(where, name, sent(signal.SIGTERM, when)(getattr(where, name)))
        yield


def step_is(step: int) -> Callable[..., bool]:
    return lambda module, *_: module.global_step == step


MOMENTS = {  # where a signal comes: owner of the function, its name, the condition; and steps saved
    "in the floor": (floor, "measure", lambda *_: True, 0),
    "in the first step": (MetricLearner, "training_step", step_is(0), 0),
    "in a step": (MetricLearner, "training_step", step_is(6), 7),
    "in the step before a validation": (MetricLearner, "training_step", step_is(7), 8),
    "while filling": (
        fill_memory.FillMemory,
        "on_train_batch_start",
        lambda _, trainer, *rest: trainer.global_step == 4,
        5,
    ),
    "in a validation": (MetricLearner, "validation_step", step_is(8), 8),
    "at the end of a validation": (MetricLearner, "on_validation_epoch_end", step_is(8), 8),
}


@pytest.mark.parametrize("moment", MOMENTS)
def test_sigterm_loses_nothing(moment: str, quick: Quick, straight: Path, tmp_path: Path, console: Console) -> None:
    """The run saves as soon as it can. It validates neither at another step nor twice."""
    where, name, when, saved = MOMENTS[moment]
    before = signal.getsignal(signal.SIGTERM)
    with ended(where, name, when):
        outcome = fit(build_parts(short(quick)), tmp_path / "run", console)
    assert (outcome.ended_by, outcome.summary["steps"]) == ("SIGTERM", saved)
    assert signal.getsignal(signal.SIGTERM) is before
    resumed = fit(build_parts(short(quick)), tmp_path / "run", console, resume=True)
    assert resumed.ended_by is None
    assert differences(straight, tmp_path / "run") == []


LAST = {
    "in the last step": (MetricLearner, "training_step", step_is(11)),
    "in the last validation": (MetricLearner, "validation_step", step_is(12)),
}


@pytest.mark.parametrize("moment", LAST)
def test_what_is_asked_to_stop_at_its_end_comes_to_it(
    moment: str, quick: Quick, straight: Path, tmp_path: Path, console: Console
) -> None:
    """It also makes its last validation. A caller with further runs to train gets an error."""
    where, name, when = LAST[moment]
    with ended(where, name, when):
        outcome = fit(build_parts(short(quick)), tmp_path / "run", console)
    assert (outcome.ended_by, outcome.asked_by, outcome.summary["steps"]) == (None, "SIGTERM", 12)
    assert differences(straight, tmp_path / "run") == []
    parts = build_parts(short(quick))
    with ended(where, name, when), pytest.raises(Terminated):
        train_once(parts.settings, parts.data, tmp_path / "of a comparison", console)
    assert runs.is_finished(tmp_path / "of a comparison")


def test_a_second_ctrl_c_ends_at_once_and_loses_nothing(
    quick: Quick, straight: Path, tmp_path: Path, console: Console
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        twice = sent(signal.SIGINT, step_is(6), times=2)
        patch.setattr(MetricLearner, "training_step", twice(MetricLearner.training_step))
        with pytest.raises(SystemExit) as ended:
            fit(build_parts(short(quick)), tmp_path / "run", console)
    assert ended.value.code == 1
    fit(build_parts(short(quick)), tmp_path / "run", console, resume=True)
    assert differences(straight, tmp_path / "run") == []


def hold(folder: Path, ready: object) -> None:
    with locked(folder):
        ready.set()
        signal.pause()


def test_a_run_folder_is_held_by_one_process_and_not_by_a_dead_one(tmp_path: Path) -> None:
    ready = SERVER.Event()
    holder = SERVER.Process(target=hold, args=(tmp_path, ready))
    holder.start()
    assert ready.wait(60)
    with pytest.raises(RunError, match=f"in use by process {holder.pid} on "), locked(tmp_path):
        pass
    with pytest.raises(RunError, match=f"in use by process {holder.pid} on .*: wait for its end, or name another"):
        runs.refuse_used(tmp_path)
    holder.kill()
    holder.join()
    with locked(tmp_path):
        runs.refuse_used(tmp_path)  # the process's own lock, which looking does not end
        (tmp_path / "x").touch()
        with pytest.raises(RunError, match="is not empty"):
            runs.refuse_used(tmp_path)
