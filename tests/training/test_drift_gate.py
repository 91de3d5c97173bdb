"""The gate opens by what is measured, keeps rows that are too old from counting, and survives a kill."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from rich.console import Console

from crossbatch.cross_batch import FOREVER
from crossbatch.errors import SettingError
from crossbatch.training import drift_gate, drift_meters
from crossbatch.training.plan import plan_of
from crossbatch.training.run_parts import build_parts
from crossbatch.training.settings import DriftSettings, MemorySettings, Settings
from crossbatch.training.train import fit

Quick = Callable[..., Settings]


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measure often enough for a run of a second."""
    monkeypatch.setattr(drift_meters, "EVERY", 4)
    monkeypatch.setattr(drift_meters, "SHORT", 1)
    monkeypatch.setattr(drift_gate, "OPEN_AGE", 4)


def test_a_gate_that_is_wide_opens_as_soon_as_it_knows(quick: Quick, tmp_path: Path, console: Console) -> None:
    """At step 8, the first at which drift over 4 steps is known; then all rows count, and what is empty is filled."""
    parts = build_parts(quick(memory=MemorySettings(max_drift=3.9)))
    assert "once images move less than 3.9" in "".join(plan_of(parts))
    summary = fit(parts, tmp_path / "run", console).summary
    assert summary["memory_steps"] == 12 - 7
    assert int(parts.learner.loss_fn.start) == 7
    assert int(parts.learner.loss_fn.max_age) == FOREVER
    assert len(parts.memory) == parts.memory.size


def test_no_earlier_than_the_step_that_is_given(quick: Quick, tmp_path: Path, console: Console) -> None:
    parts = build_parts(quick(memory=MemorySettings(max_drift=3.9, start=9)))
    assert fit(parts, tmp_path / "run", console).summary["memory_steps"] == 1


@pytest.mark.parametrize("limit_age", [True, False])
def test_a_gate_that_is_narrow_stays_shut(limit_age: bool, quick: Quick, tmp_path: Path, console: Console) -> None:
    """The batch alone trains, as without memory; rows are kept all the same."""
    parts = build_parts(quick(memory=MemorySettings(max_drift=1e-9, limit_age=limit_age)))
    assert fit(parts, tmp_path / "run", console).summary["memory_steps"] == 0
    assert len(parts.memory) > 0
    assert (int(parts.learner.loss_fn.max_age) < FOREVER) == limit_age
    alone = build_parts(quick(memory=MemorySettings(size=0)))
    fit(alone, tmp_path / "alone", console)
    one, other = (arm.learner.embedder.state_dict() for arm in (parts, alone))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_rows_too_old_by_the_drift_do_not_count(quick: Quick, tmp_path: Path, console: Console) -> None:
    """At a limit that the oldest rows have passed and the young ones have not."""
    parts = build_parts(quick(steps=24, memory=MemorySettings(max_drift=3.9)))
    fit(parts, tmp_path / "wide", console)
    meters = drift_meters.runs.read_table(tmp_path / "wide" / "drift.csv")
    at_20 = {
        int(row["first"]): float(row["distance"]) for row in meters if (row["step"], row["meter"]) == ("20", "sample")
    }
    between = (at_20[1] + max(at_20.values())) / 2
    parts = build_parts(quick(steps=24, memory=MemorySettings(max_drift=between, start=99)))
    fit(parts, tmp_path / "narrow", console)
    assert 1 <= int(parts.learner.loss_fn.max_age) < 20


def test_a_gate_needs_the_meter(quick: Quick) -> None:
    with pytest.raises(SettingError, match=r"--memory\.max_drift goes by the drift of a sample"):
        build_parts(quick(memory=MemorySettings(max_drift=0.2), drift=DriftSettings(sample=0)))
