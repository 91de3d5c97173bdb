"""Tests of the drift meters: right values, no influence on training, and state in the checkpoint."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import lightning as L
import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file

from crossbatch import runs
from crossbatch.training import drift_meters as drift
from crossbatch.training.run_parts import build_parts
from crossbatch.training.settings import DriftSettings, MemorySettings, OptimSettings, Settings
from crossbatch.training.train import fit

Quick = Callable[..., Settings]


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measure often enough for a run of a second."""
    monkeypatch.setattr(drift, "EVERY", 4)
    monkeypatch.setattr(drift, "SHORT", 1)
    monkeypatch.setattr(drift, "RETURNS_EVERY", 1)
    monkeypatch.setattr(drift, "LOGGED", (1, 4))


def measured(run: Path, meter: str) -> list[tuple[int, int, float]]:
    """Step, age and distance of each row of a meter."""
    rows = runs.read_table(run / runs.DRIFT)
    return [(int(row["step"]), int(row["first"]), float(row["distance"])) for row in rows if row["meter"] == meter]


def test_a_run_measures_drift_by_age(quick: Quick, tmp_path: Path, console: Console) -> None:
    fit(build_parts(quick(steps=13)), tmp_path / "run", console)
    sample = measured(tmp_path / "run", "sample")
    assert [(step, age) for step, age, _ in sample] == [(4, 1), (8, 1), (8, 4), (12, 1), (12, 4), (12, 8)]
    assert all(distance > 0 for _, _, distance in sample)
    assert [step for step, _, _ in measured(tmp_path / "run", "augmentation")] == [4, 8, 12]
    returned = measured(tmp_path / "run", "returning")
    assert {step for step, _, _ in returned} == {4, 8, 12}
    assert all(age >= 0 and distance > 0 for _, age, distance in returned)
    assert set(runs.read_metrics(tmp_path / "run")) >= {"drift/1", "drift/4", "drift/returning", "drift/augmentation"}


def test_without_memory_only_the_sample_is_measured(quick: Quick, tmp_path: Path, console: Console) -> None:
    fit(build_parts(quick(memory=MemorySettings(size=0))), tmp_path / "run", console)
    assert measured(tmp_path / "run", "sample")
    assert not measured(tmp_path / "run", "returning")


def test_to_measure_is_not_to_train(quick: Quick, tmp_path: Path, console: Console) -> None:
    """Weights and statistics equal those of a run without measurements."""
    for name, settings in {"with": DriftSettings(), "without": DriftSettings(sample=0)}.items():
        fit(build_parts(quick(drift=settings)), tmp_path / name, console)
    assert not (tmp_path / "without" / runs.DRIFT).exists()
    one, other = (load_file(tmp_path / name / "model.safetensors") for name in ("with", "without"))
    assert [name for name in one if not torch.equal(one[name], other[name])] == []


def test_a_network_that_stands_still_drifts_by_nothing(quick: Quick, tmp_path: Path, console: Console) -> None:
    """Returning images differ only by augmentation. BatchNorm is in evaluation mode, so the batch has no influence."""
    still = quick(steps=25, optim=OptimSettings(steps=25, lr=1e-12, warmup=0))
    parts = build_parts(still)
    parts.learner.embedder.train = lambda _=True: parts.learner.embedder  # type: ignore[method-assign]
    parts.learner.embedder.eval = lambda: parts.learner.embedder  # type: ignore[method-assign]
    for module in parts.learner.embedder.modules():
        module.training = False
    fit(parts, tmp_path / "run", console)
    assert max(distance for _, _, distance in measured(tmp_path / "run", "sample")) < 1e-10
    augmentation = [distance for _, _, distance in measured(tmp_path / "run", "augmentation")]
    rows = [row for row in runs.read_table(tmp_path / "run" / runs.DRIFT) if row["meter"] == "returning"]
    pairs = sum(int(row["pairs"]) for row in rows)
    returned = sum(float(row["distance"]) * int(row["pairs"]) for row in rows) / pairs
    assert returned == pytest.approx(sum(augmentation) / len(augmentation), rel=0.35)


def test_a_resumed_run_measures_what_a_straight_one_does(
    quick: Quick, tmp_path: Path, console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = quick(steps=13)
    fit(build_parts(settings), tmp_path / "straight", console)
    start = drift.DriftMeters.on_train_batch_start

    def kill(self: drift.DriftMeters, trainer: L.Trainer, *rest: object) -> None:
        if trainer.global_step == 10:
            raise SystemError("killed")
        start(self, trainer, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(drift.DriftMeters, "on_train_batch_start", kill)
        with pytest.raises(SystemError, match="killed"):
            fit(build_parts(settings), tmp_path / "stopped", console)
    fit(build_parts(settings), tmp_path / "stopped", console, resume=True)
    straight, stopped = ((tmp_path / name / runs.DRIFT).read_text() for name in ("straight", "stopped"))
    assert straight == stopped


def test_images_that_cannot_be_read_are_left_out_of_the_measure(quick: Quick, tmp_path: Path, console: Console) -> None:
    settings = quick()
    parts = build_parts(replace(settings, loop=replace(settings.loop, on_corrupt="skip")))
    fit(parts, tmp_path / "run", console)
    assert measured(tmp_path / "run", "sample")
