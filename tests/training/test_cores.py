"""Tests of how cores are shared, and of the measured share of training that waits for data."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from rich.console import Console

from crossbatch.data.batches import TrainingBatches
from crossbatch.memory import CrossBatchMemory
from crossbatch.training import cores as shared
from crossbatch.training import throughput
from crossbatch.training.cores import MOST_WORKERS, share_cores
from crossbatch.training.metric_learner import MetricLearner
from crossbatch.training.plan import plan_of
from crossbatch.training.run_parts import build_parts
from crossbatch.training.settings import LoopSettings, Settings
from crossbatch.training.train import fit

Quick = Callable[..., Settings]


@pytest.mark.parametrize("cores", [1, 2, 3, 8, 64])
def test_processes_and_threads_take_no_more_than_the_cores(cores: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared.os, "sched_getaffinity", lambda _: set(range(cores)), raising=False)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    for in_memory in (True, False):
        for on_cpu in (True, False):
            workers, threads = share_cores(in_memory, None, on_cpu=on_cpu)
            assert threads >= 1
            assert workers + threads <= max(cores, 1)
            assert workers == (0 if in_memory or on_cpu else min(cores - 1, MOST_WORKERS))
    assert share_cores(False, 1, on_cpu=True) == (1, max(1, cores - 1))
    assert share_cores(True, cores + 3, on_cpu=False) == (cores + 3, 1)


@pytest.mark.parametrize(("allowed", "threads"), [("1", 1), ("3", 3), ("16", 8), ("", 8), ("4,2", 8), ("0", 1)])
def test_torch_takes_no_more_threads_than_it_is_allowed(
    allowed: str, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared.os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", allowed)
    assert share_cores(True, None, on_cpu=True) == (0, threads)


def test_the_plan_says_who_reads(quick: Quick) -> None:
    assert "for reading and training in turn" in "".join(plan_of(build_parts(quick())))
    loop = LoopSettings(accelerator="cpu", workers=3)
    assert ", and 3 loader processes" in "".join(plan_of(build_parts(quick(loop=loop))))


class Hours:
    """A clock that moves only during the functions it is told to make slow."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now, self.patch = 0.0, monkeypatch
        monkeypatch.setattr(throughput, "time", SimpleNamespace(perf_counter=lambda: self.now))

    def takes(self, seconds: float, owner: type, name: str) -> None:
        original = getattr(owner, name)

        def late(*arguments: object, **options: object) -> object:
            self.now += seconds
            return original(*arguments, **options)

        self.patch.setattr(owner, name, late)


@pytest.fixture
def hours(monkeypatch: pytest.MonkeyPatch) -> Hours:
    return Hours(monkeypatch)


@pytest.mark.parametrize("share", [0.0, 0.25, 0.75])
@pytest.mark.parametrize("refit", [True, False])
def test_the_share_of_waiting(
    share: float, refit: bool, quick: Quick, hours: Hours, tmp_path: Path, console: Console
) -> None:
    """The summary has the share. Validation and saving count neither as waiting nor as training."""
    hours.takes(share, TrainingBatches, "__getitem__")
    hours.takes(1 - share, MetricLearner, "training_step")
    hours.takes(10, MetricLearner, "on_validation_epoch_end")
    hours.takes(10, MetricLearner, "on_save_checkpoint")
    summary = fit(build_parts(quick(start=99, refit=refit)), tmp_path / "run", console).summary
    assert summary["waiting_for_data"] == pytest.approx(share)
    assert summary["training_seconds"] == pytest.approx(12)


def test_filling_the_memory_is_training_and_no_waiting(
    quick: Quick, hours: Hours, tmp_path: Path, console: Console
) -> None:
    hours.takes(1, TrainingBatches, "__getitem__")
    hours.takes(24, CrossBatchMemory, "fill")
    summary = fit(build_parts(quick(start=4)), tmp_path / "run", console).summary
    assert summary["training_seconds"] == pytest.approx(12 + 24)
    assert summary["waiting_for_data"] == pytest.approx(12 / 36, abs=1e-4)


def test_the_share_of_a_resumed_run_is_of_the_whole(
    quick: Quick, hours: Hours, tmp_path: Path, console: Console
) -> None:
    hours.takes(1, MetricLearner, "training_step")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hours, "patch", patch)
        hours.takes(1, TrainingBatches, "__getitem__")
        fit(build_parts(quick(steps=8, start=99)), tmp_path / "run", console)
    for _ in ("two steps more", "none, since it is finished"):
        parts = build_parts(quick(steps=10, start=99))
        summary = fit(parts, tmp_path / "run", console, resume=True, force=True).summary
        assert summary["training_seconds"] == pytest.approx(8 * 2 + 2)
        assert summary["waiting_for_data"] == pytest.approx(8 / 18, abs=1e-4)


def test_a_loader_process_leaves_the_cores_to_others(quick: Quick) -> None:
    """torch uses one thread there, and so does reading."""
    feed = build_parts(quick(loop=LoopSettings(accelerator="cpu", workers=1))).feed
    feed.augmentation = Threads()
    pixels, _, _ = next(iter(feed.train_dataloader()))
    assert pixels.tolist() == [1.0]


class Threads:
    """An augmentation that returns torch's number of threads in the process that reads images."""

    def look(self, seed: int) -> Callable[[int, int], object]:
        return lambda *_: FirstPixel()

    def __call__(self, views: object, seeds: object) -> torch.Tensor:
        return torch.tensor([float(torch.get_num_threads())])


class FirstPixel:
    def of(self, image: object) -> torch.Tensor:
        return torch.zeros(1, 1, 1)
