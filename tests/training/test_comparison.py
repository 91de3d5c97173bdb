"""A comparison: both arms searched alike on validation, trained over seeds, tested once."""

from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from crossbatch import runs
from crossbatch.errors import SettingError
from crossbatch.training import comparison
from crossbatch.training.assembly import assemble
from crossbatch.training.comparison import LONGER, WITH, WITHOUT, compare
from crossbatch.training.settings import Settings
from crossbatch.training.step_cost import StepCost, measure


def test_compares(quick: Callable[..., Settings], tmp_path: Path, console: Console, monkeypatch) -> None:
    monkeypatch.setattr(comparison, "measure", lambda *arms: StepCost(1.0, 1.5))
    out = tmp_path / "comparison"
    result = compare(quick(steps=8, start=2), out, console, seeds=2, learning_rates=(1e-4, 1e-2), ks=(1, 2))
    assert result == runs.read_json(out / "comparison.json")
    assert [(row["arm"], row["lr"]) for row in result["search"]] == [
        (arm, lr) for arm in (WITHOUT, WITH) for lr in (1e-4, 1e-2)
    ]
    arms = {arm["name"]: arm for arm in result["arms"]}
    assert list(arms) == [WITHOUT, LONGER, WITH]
    for name in (WITHOUT, WITH):
        searched = {row["lr"]: row["validation R@1"] for row in result["search"] if row["arm"] == name}
        assert searched[arms[name]["lr"]] == max(searched.values())
    assert arms[WITHOUT]["steps"] == arms[WITH]["steps"] == 8
    assert arms[LONGER]["steps"] == 12
    assert arms[LONGER]["lr"] == arms[WITHOUT]["lr"]
    assert arms[WITHOUT]["memory_rows"] == 0 < arms[WITH]["memory_rows"]
    for arm in arms.values():
        assert list(arm["test"]) == ["R@1", "R@2", "R-precision", "MAP@R"]
        for run in arm["runs"]:
            looks = runs.read_json(out / run / "evaluations.json")
            assert [look["part"] for look in looks] == ["test"]
    untested = {path.parent.name for path in out.glob("*/summary.json")} - {r for a in arms.values() for r in a["runs"]}
    assert not any((out / run / "evaluations.json").exists() for run in untested)
    error = [1 - sum(arms[name]["test"]["R@1"]) / 2 for name in (WITH, WITHOUT)]
    if error[1]:
        assert result["error_ratio"][WITHOUT]["of means"] == pytest.approx(error[0] / error[1])


def test_measures_what_a_step_costs(quick: Callable[..., Settings]) -> None:
    without, with_memory = assemble(quick(size=0)), assemble(quick())
    cost = measure(without, with_memory, rounds=3, warmup=1)
    assert cost.without > 0
    assert cost.ratio == cost.with_memory / cost.without
    assert len(with_memory.memory) == with_memory.memory.size


def test_needs_a_memory_to_compare_with(quick: Callable[..., Settings], tmp_path: Path, console: Console) -> None:
    with pytest.raises(SettingError, match="compare needs a memory"):
        compare(quick(size=0), tmp_path / "x", console)
    with pytest.raises(SettingError, match="--seeds must be at least 1, got 0"):
        compare(quick(), tmp_path / "x", console, seeds=0)
    assert not (tmp_path / "x").exists()
