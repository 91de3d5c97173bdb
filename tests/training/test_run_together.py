"""Tests of `crossbatch train` in several processes: it equals one process, and resumes with another number of them."""

import os
import signal
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from together import together
from torch.testing import assert_close

from crossbatch import runs
from crossbatch.launched import started_rank
from crossbatch.models.checkpoint import WEIGHTS, load_weights, tensors
from crossbatch.training import follow_network
from crossbatch.training.drift_meters import DriftMeters
from crossbatch.training.fill_memory import FillMemory
from crossbatch.training.floor import measure
from crossbatch.training.metric_learner import MetricLearner
from crossbatch.training.run_parts import build_parts
from crossbatch.training.settings import MemorySettings, Settings
from crossbatch.training.train import fit

STOPPED = 10


def sgd(module: MetricLearner) -> dict[str, Any]:
    optimizer = torch.optim.SGD([one for one in module.parameters() if one.requires_grad], lr=0.05)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda _: 1.0)
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def stop(self: FillMemory, trainer: Any, *rest: Any) -> None:
    if trainer.global_step == STOPPED:
        raise SystemError("stopped")


def trained(settings: Settings, run: Path, *, resume: bool = False, stopped: bool = False) -> dict[str, Any]:
    """Train with plain SGD, which does not amplify rounding. Return state, summary and what this process printed."""
    console = Console(file=StringIO(), width=200, quiet=started_rank() > 0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(MetricLearner, "configure_optimizers", sgd)
        patch.setattr(follow_network, "SHARE", 16 / 6 / 3)  # look every third step
        if stopped:
            patch.setattr(DriftMeters, "on_train_batch_start", stop)
        parts, summary = build_parts(settings), {}
        with suppress(SystemError):
            summary = fit(parts, run, console, resume=resume, force=resume).summary  # a shard may become whole
    state = {} if stopped else last_state(run)
    wanted = ("steps", "memory_start", "best_validation_R@1", "before_training", "after_training", "last_validation")
    return {"state": state, "summary": {name: summary.get(name) for name in wanted}, "told": console.file.getvalue()}


def last_state(run: Path) -> dict[str, Any]:
    """The state of network, loss and memory in the last checkpoint."""
    return dict(torch.load(run / runs.CHECKPOINTS / f"{runs.LAST}.ckpt", weights_only=True)["state_dict"])


def with_memory(settings: Settings, **changes: Any) -> Settings:
    return replace(settings, memory=replace(settings.memory, **changes))


def straight_and_stopped(settings: Settings, folder: Path) -> list[dict[str, Any]]:
    """Two complete runs, with whole memory and with a sharded one that follows the network, and two that stop early."""
    for name in ("at one", "at three"):
        trained(with_memory(settings, sharded=True), folder / name, stopped=True)
    followed = with_memory(settings, sharded=True, follow=True)
    return [trained(settings, folder / "whole"), trained(followed, folder / "followed")]


def gone_on_with(settings: Settings, run: Path) -> dict[str, Any]:
    return trained(with_memory(settings, sharded=True), run, resume=True)


def assert_as(found: dict[str, Any], wanted: dict[str, Any], within: float = 1e-5) -> None:
    for name, value in wanted["state"].items():
        if value.is_floating_point():
            assert_close(
                found["state"][name], value, atol=within, rtol=0, msg=lambda text, name=name: f"{name}: {text}"
            )
        else:
            assert torch.equal(found["state"][name], value), name


def asked_and_measured(settings: Settings, folder: Path) -> dict[str, Any]:
    """A run in which the second process alone gets SIGTERM; a run without validation, and what its model measures."""

    def step(self: MetricLearner, *given: Any) -> Any:
        if self.trainer.global_step == 4 and started_rank() == 1:
            os.kill(os.getpid(), signal.SIGTERM)
        return plain(self, *given)

    console, plain = Console(file=StringIO()), MetricLearner.training_step
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(MetricLearner, "training_step", step)
        outcome = fit(build_parts(settings), folder / "asked", console)
    refit = replace(settings, refit=True)
    summary = fit(build_parts(refit), folder / "refit", console).summary
    parts = build_parts(refit)
    load_weights(parts.learner.network, tensors(folder / "refit" / WEIGHTS), folder)
    measured = measure(parts.learner, parts).summary
    return {
        "ended by": outcome.ended_by,
        "steps": outcome.summary["steps"],
        "processes": summary["processes"],
        "summary": summary["after_training"],
        "measured": measured,
    }


def test_processes_end_together_and_measure_the_model_that_is_saved(
    quick: Callable[..., Settings], tmp_path: Path
) -> None:
    settings = quick(steps=8, start=2)
    for found in together(2, asked_and_measured, settings, tmp_path):
        assert (found["ended by"], found["steps"], found["processes"]) == ("SIGTERM", 5, 2)
        assert found["summary"] == pytest.approx(found["measured"])
    assert runs.read_summary(tmp_path / "asked")["ended_by"] == "SIGTERM"


@pytest.mark.long
def test_a_run_is_that_of_one_process_and_goes_on_with_any_number_of_them(
    quick: Callable[..., Settings], tmp_path: Path
) -> None:
    """The network has no batch statistics, and all options of the memory are on. Only the first process prints."""
    settings = quick(steps=13, memory=MemorySettings(size=50, stale=100.0, follow=False))
    settings = replace(settings, model=replace(settings.model, freeze_bn=True, pooling="avg"))
    alone = trained(settings, tmp_path / "alone")
    followed = trained(with_memory(settings, follow=True), tmp_path / "alone, followed")
    assert alone["summary"]["memory_start"] == 3
    first, second = together(2, straight_and_stopped, settings, tmp_path)
    # The motion of 16 images is fitted with a ridge of at least 0.001, which amplifies rounding.
    for number, (wanted, within) in enumerate([(alone, 1e-5), (followed, 1e-2)]):
        for found in (first[number], second[number]):
            assert_as(found, wanted, within)
        assert first[number]["summary"]["memory_start"] == 3
        assert "val R@1" in first[number]["told"]
        assert not second[number]["told"]
    assert_close(first[0]["summary"], alone["summary"], atol=1e-5, rtol=0)
    assert runs.read_json(tmp_path / "followed" / "summary.json")["steps"] == 13
    one, other = (runs.read_metrics(tmp_path / name)["val/R@1"] for name in ("whole", "alone"))
    assert one == other
    assert_as(trained(settings, tmp_path / "at one", resume=True), alone)
    for found in together(3, gone_on_with, settings, tmp_path / "at three"):
        assert_as(found, alone)
