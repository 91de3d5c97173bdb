"""Tests of a comparison: both arms are searched alike on validation, trained with several seeds, and tested once."""

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from crossbatch import runs
from crossbatch.data.split import Split
from crossbatch.errors import RunError, SettingError
from crossbatch.training import comparison, rate_search
from crossbatch.training.arm_results import error_ratios
from crossbatch.training.comparable import WITH, WITHOUT
from crossbatch.training.comparison import LONGER, compare
from crossbatch.training.fill_memory import FillMemory
from crossbatch.training.run_parts import build_parts
from crossbatch.training.settings import LoopSettings, OptimSettings, Settings
from crossbatch.training.step_cost import StepCost, measure


def test_compares(quick: Callable[..., Settings], tmp_path: Path, console: Console, monkeypatch) -> None:
    starts: list[int] = []
    monkeypatch.setattr(comparison, "measure", lambda *_, start: starts.append(start) or StepCost(1.0, 1.5, fill=0.9))
    monkeypatch.setattr(rate_search, "WIDENINGS", 0)
    out = tmp_path / "comparison"
    result = compare(quick(steps=8, start=2), out, console, seeds=2, learning_rates=(1e-4, 1e-2), ks=(1, 2))
    assert result == runs.read_json(out / "comparison.json")
    assert starts == [2]  # filling the memory at its start is part of the measured cost
    assert [(row["arm"], row["lr"]) for row in result["search"]] == [
        (arm, lr) for arm in (WITHOUT, WITH) for lr in (1e-4, 1e-2)
    ]
    arms = {arm["name"]: arm for arm in result["arms"]}
    assert list(arms) == [WITHOUT, LONGER, WITH]
    for name in (WITHOUT, WITH):
        searched = {row["lr"]: row["validation R@1"] for row in result["search"] if row["arm"] == name}
        assert searched[arms[name]["lr"]] == max(searched.values())
    assert arms[WITHOUT]["steps"] == arms[WITH]["steps"] == 8
    assert arms[LONGER]["steps"] == 8 + 4  # the memory costs half a step in six steps, and filling it costs the rest
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
    told = [line for line in console.file.getvalue().splitlines() if line.startswith("run ")]
    assert [line.partition(":")[0] for line in told] == [f"run {number} of 8" for number in range(1, 9)]
    assert told[-1].startswith("run 8 of 8: without memory, equal time, learning rate 0.")
    if error[1]:
        assert result["error_ratio"][WITHOUT]["of means"] == pytest.approx(error[0] / error[1])


def test_measures_what_a_step_costs(quick: Callable[..., Settings]) -> None:
    without, with_memory = build_parts(quick(size=0)), build_parts(quick())
    cost = measure(without, with_memory, rounds=3, warmup=1)
    assert cost.without > 0
    assert cost.ratio == cost.with_memory / cost.without
    assert len(with_memory.memory) == with_memory.memory.size
    assert cost.fill > 0
    assert measure(without, with_memory, start=1000, rounds=1, warmup=0).fill == 0  # batches have filled it by then


def test_errors_with_memory_are_told_as_multiples_of_those_without_by_means_and_by_seed() -> None:
    """A seed without errors has no ratio, and an arm without errors has none at all."""
    recall = {WITHOUT: [0.5, 0.75, 1.0], LONGER: [1.0, 1.0, 1.0], WITH: [0.75, 0.5, 0.75]}
    assert error_ratios([{"name": name, "test": {"R@1": values}} for name, values in recall.items()]) == {
        WITHOUT: {"of means": pytest.approx(1 / 0.75), "by seed": [0.5, 2.0, None]},
        LONGER: {"of means": None, "by seed": [None, None, None]},
    }


def test_needs_a_memory_to_compare_with(quick: Callable[..., Settings], tmp_path: Path, console: Console) -> None:
    with pytest.raises(SettingError, match="compare needs a memory"):
        compare(quick(size=0), tmp_path / "x", console)
    with pytest.raises(SettingError, match="--seeds must be at least 1, got 0"):
        compare(quick(), tmp_path / "x", console, seeds=0)
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(
    ("changes", "rates", "message"),
    [
        ({}, (0.0,), r"--learning_rates are numbers above 0.*got \[0.0\]"),
        ({}, (0.001, float("inf")), "--learning_rates are numbers above 0"),
        ({"loop": LoopSettings(patience=2)}, (), "equal steps, and --loop.patience 2 would end some early"),
        ({"loop": LoopSettings(devices=2)}, (), "compare runs in one process: leave --loop.devices out"),
        ({"split": Split(test_share=0.0)}, (), "there are no test classes to compare on: raise --split.test_share"),
    ],
)
def test_what_cannot_be_compared_is_refused_before_a_folder_is_made(
    changes: dict, rates: tuple, message: str, quick: Callable[..., Settings], tmp_path: Path, console: Console
) -> None:
    with pytest.raises(SettingError, match=message):
        compare(quick(**changes), tmp_path / "x", console, learning_rates=rates)
    assert not (tmp_path / "x").exists()


def test_what_has_no_effect_beside_options_of_each_arm_is_refused(
    quick: Callable[..., Settings], tmp_path: Path, console: Console
) -> None:
    arms = {WITHOUT: {"optim": {"lr": 0.002}}, WITH: {"optim": {"lr": 0.004}}}
    for settings, rates, message in (
        (quick(), (0.003,), "a learning rate for each arm: leave --learning_rates out"),
        (quick(optim=OptimSettings(steps=8, lr=0.1)), (), "optim.lr 0.1 beside them has no effect"),
    ):
        with pytest.raises(SettingError, match=message):
            compare(settings, tmp_path / "x", console, learning_rates=rates, own=arms)
    assert not (tmp_path / "x").exists()


def test_a_stopped_comparison_goes_on(
    quick: Callable[..., Settings], tmp_path: Path, console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is stopped in its second run. The first run is not trained again, and the second resumes to the same end."""
    settings, fit, fill, fitted = quick(steps=8, start=2), comparison.fit, FillMemory.on_train_batch_start, []

    def interrupt(self, trainer, *rest):
        if trainer.global_step == 3:
            os.kill(os.getpid(), signal.SIGINT)
        fill(self, trainer, *rest)

    def stop_in_the_second(parts, run, console, *, resume=False):
        fitted.append((run.name, resume))
        if len(fitted) == 2:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(FillMemory, "on_train_batch_start", interrupt)
                return fit(parts, run, console, resume=resume)
        return fit(parts, run, console, resume=resume)

    rates = (1e-3,)
    monkeypatch.setattr(comparison, "fit", stop_in_the_second)
    monkeypatch.setattr(comparison, "measure", lambda *arms, start: StepCost(1.0, 1.5))
    monkeypatch.setattr(rate_search, "WIDENINGS", 0)
    with pytest.raises(KeyboardInterrupt):
        compare(settings, tmp_path / "stopped", console, seeds=1, learning_rates=rates)
    assert not (tmp_path / "stopped" / "comparison.json").exists()
    with pytest.raises(RunError, match="is not empty"):
        compare(quick(steps=9, start=2), tmp_path / "stopped", console, seeds=1)
    compare(settings, tmp_path / "stopped", console, seeds=1, learning_rates=rates, equal_time=False)
    (first, _), (second, begun), (gone_on, resumed) = fitted
    assert first != second == gone_on
    assert (begun, resumed) == (False, True)
    compare(settings, tmp_path / "straight", console, seeds=1, learning_rates=rates, equal_time=False)
    arms = [runs.read_json(tmp_path / name / "comparison.json")["arms"] for name in ("stopped", "straight")]
    assert [arm["test"] for arm in arms[0]] == [arm["test"] for arm in arms[1]]


def test_a_learning_rate_that_diverges_loses_the_search(
    quick: Callable[..., Settings], tmp_path: Path, console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(comparison, "measure", lambda *arms, start: StepCost(1.0, 1.5))
    monkeypatch.setattr(rate_search, "WIDENINGS", 0)
    result = compare(
        quick(steps=8, start=2), tmp_path / "c", console, seeds=1, learning_rates=(1e30, 1e-3), equal_time=False
    )
    assert {arm["lr"] for arm in result["arms"]} == {1e-3}
    told = console.file.getvalue()
    assert "diverged" in told
    assert "training  8 steps without and with memory; learning rates 1e+30, 0.001; 1 seed of the best" in told
    assert "memory    " in told


def test_a_finished_comparison_is_told_again_and_takes_further_seeds(
    quick: Callable[..., Settings], tmp_path: Path, console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Runs that were trained and tested are not trained or tested again."""
    monkeypatch.setattr(comparison, "measure", lambda *arms, start: StepCost(1.0, 1.5))
    settings, fit, fitted = quick(steps=8, start=2), comparison.fit, []

    def noted(parts, run, console, *, resume=False):
        fitted.append(run.name)
        return fit(parts, run, console, resume=resume)

    monkeypatch.setattr(comparison, "fit", noted)
    first = compare(settings, tmp_path / "c", console, seeds=1)
    trained = len(fitted)
    assert trained == 3
    assert compare(settings, tmp_path / "c", console, seeds=1) == first
    assert len(fitted) == trained
    # As if it was stopped before it wrote its table, and as if the new cost gave the longer arm another length.
    (tmp_path / "c" / runs.COMPARISON).unlink()
    monkeypatch.setattr(StepCost, "steps_worth", lambda *_: 7)
    wider = compare(settings, tmp_path / "c", console, seeds=2)
    assert len(fitted) == 2 * trained
    assert [one["test"]["R@1"][0] for one in wider["arms"]] == [one["test"]["R@1"][0] for one in first["arms"]]
    assert {one["steps"] for one in wider["arms"]} == {one["steps"] for one in first["arms"]}
    for arm in wider["arms"]:
        for run in arm["runs"]:
            assert len(runs.read_evaluations(tmp_path / "c" / run)) == 1
