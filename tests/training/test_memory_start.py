"""Tests that the start of the memory follows from measurements, has a reason, and survives a stop."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from rich.console import Console

from crossbatch import runs
from crossbatch.training import follow_network, memory_start
from crossbatch.training.memory_start import MemoryStart, mean_movement
from crossbatch.training.plan import plan_of
from crossbatch.training.run_parts import build_parts
from crossbatch.training.settings import MemorySettings, Settings
from crossbatch.training.train import fit

Quick = Callable[..., Settings]


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look every third step."""
    monkeypatch.setattr(follow_network, "SHARE", 16 / 6 / 3)


@pytest.mark.parametrize("follow", [True, False])
def test_it_starts_at_the_first_look_where_rows_are_fresh_enough(
    follow: bool, quick: Quick, tmp_path: Path, console: Console
) -> None:
    """With this limit all rows are fresh, so it starts at the second look, the first that knows how far rows move."""
    parts = build_parts(quick(memory=MemorySettings(stale=100.0, follow=follow)))
    assert "have moved at most 100 times the distance between two images of a class" in "".join(plan_of(parts))
    summary = fit(parts, tmp_path / "run", console).summary
    assert (summary["memory_start"], summary["memory_steps"]) == (3, 9)
    assert "two images of a class differed by" in summary["memory_start_reason"]
    assert int(parts.learner.loss_fn.start) == 3
    assert len(parts.memory) == parts.memory.size


def test_it_never_starts_where_rows_never_are(quick: Quick, tmp_path: Path, console: Console) -> None:
    """Only the batch trains, as without memory. Rows are still enqueued, and the summary has a warning."""
    parts = build_parts(quick(memory=MemorySettings(stale=1e-9)))
    parts.learner.loss_fn.start = 2  # as in the checkpoint of a run with a given start
    summary = fit(parts, tmp_path / "run", console).summary
    assert (summary["memory_start"], summary["memory_steps"]) == (None, 0)
    assert any("the memory never counted" in warning for warning in summary["warnings"])
    assert len(parts.memory) > 0
    alone = build_parts(quick(memory=MemorySettings(size=0)))
    fit(alone, tmp_path / "alone", console)
    one, other = (arm.learner.embedder.state_dict() for arm in (parts, alone))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_rows_are_judged_at_the_ages_that_they_have_by_what_images_of_a_class_differ_by(
    quick: Quick, tmp_path: Path, console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A memory of twelve rows holds the last two batches of six. Limit: 100 times a class spread of 0.001."""
    spans: list[int] = []
    monkeypatch.setattr(memory_start, "mean_movement", lambda curve, span: spans.append(span) or 1.0)
    monkeypatch.setattr(memory_start, "class_spread", lambda *_: 0.001)
    parts = build_parts(quick(steps=7, memory=MemorySettings(size=12, stale=100.0)))
    assert fit(parts, tmp_path / "run", console).summary["memory_start"] is None
    assert spans == [2, 2]


def test_a_step_that_is_given_is_taken(quick: Quick, tmp_path: Path, console: Console) -> None:
    parts = build_parts(quick(memory=MemorySettings(start=9)))
    assert "from step 9" in "".join(plan_of(parts))
    summary = fit(parts, tmp_path / "run", console).summary
    assert (summary["memory_start"], summary["memory_start_reason"]) == (9, "")


@pytest.mark.parametrize("killed", [4, 8, 10])
def test_a_killed_run_goes_on_with_what_it_knew(
    killed: int, quick: Quick, tmp_path: Path, console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed before and after the start of the memory at step 6, it ends with the same weights, rows and reasons."""
    settings = quick(steps=13, memory=MemorySettings(stale=100.0))
    settings = replace(settings, loop=replace(settings.loop, check_every=2))
    look = MemoryStart.on_train_batch_start

    def late(self: MemoryStart, trainer: L.Trainer, *rest: Any) -> None:
        if trainer.global_step != 3:
            look(self, trainer, *rest)

    monkeypatch.setattr(MemoryStart, "on_train_batch_start", late)
    straight = fit(build_parts(settings), tmp_path / "straight", console).summary

    def kill(self: MemoryStart, trainer: L.Trainer, *rest: Any) -> None:
        if trainer.global_step == killed:
            raise SystemError("killed")
        late(self, trainer, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(MemoryStart, "on_train_batch_start", kill)
        with pytest.raises(SystemError, match="killed"):
            fit(build_parts(settings), tmp_path / "killed", console)
    resumed = fit(build_parts(settings), tmp_path / "killed", console, resume=True).summary
    assert straight["memory_start"] == resumed["memory_start"] == 6
    assert straight["memory_start_reason"] == resumed["memory_start_reason"]
    assert straight["before_training"] == resumed["before_training"]
    states = [
        torch.load(tmp_path / name / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
        for name in ("straight", "killed")
    ]
    assert {name for name in states[0] if name.startswith("following.")} == {
        f"following.{name}" for name in ("probe", "since", "step", "motion")
    }
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_the_report_and_config_of_a_run_know_it(quick: Quick, tmp_path: Path, console: Console) -> None:
    fit(build_parts(quick(memory=MemorySettings(stale=0.7))), tmp_path / "run", console)
    assert runs.read_config(tmp_path / "run")["memory"]["stale"] == 0.7
    assert Settings.from_dict(runs.read_config(tmp_path / "run")).memory.start is None


def test_how_far_rows_of_all_ages_have_moved_on_average() -> None:
    curve = [(10, 1.0), (20, 1.0)]
    assert mean_movement(curve, 10) == pytest.approx(0.55)
    assert mean_movement(curve, 20) == pytest.approx((5.5 + 10) / 20)
    assert mean_movement(curve, 40) == pytest.approx((5.5 + 30) / 40)
    assert mean_movement(curve, 0) == pytest.approx(0.1)
