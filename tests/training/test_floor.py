"""Tests of the floor, the measurements before and after training, and of the warnings of runs that fail on purpose."""

from collections.abc import Callable
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file

from crossbatch import runs
from crossbatch.data.augment import Augment
from crossbatch.data.data_set import DataSet, Part
from crossbatch.training import evaluation
from crossbatch.training.floor import _whole_classes, warnings
from crossbatch.training.run_parts import build_parts
from crossbatch.training.settings import (
    BatchSettings,
    DriftSettings,
    LoopSettings,
    MemorySettings,
    ModelSettings,
    OptimSettings,
    Settings,
)
from crossbatch.training.train import fit

Quick = Callable[..., Settings]
Sound = tuple[Path, dict[str, Any], str]
STEPS = 100


def trained(
    run: Path, loaded: DataSet, lr: float = 1e-3, init: Path | None = None, steps: int = STEPS, **changes: object
) -> tuple[dict[str, Any], str]:
    """The summary of a short run, and what it printed."""
    console = Console(file=StringIO(), width=200)
    loop = LoopSettings(check_every=steps, accelerator="cpu", workers=0)
    optim, batch = OptimSettings(steps=steps, warmup=10, lr=lr), BatchSettings(8, 4)
    alone = {"memory": MemorySettings(size=0), "drift": DriftSettings(sample=0)}  # faster, with the same floor
    settings = Settings(
        batch=batch, model=ModelSettings(dim=64, image_size=20), optim=optim, loop=loop, **alone, **changes
    )
    return fit(build_parts(settings, loaded), run, console, init=init).summary, console.file.getvalue()


@pytest.fixture(scope="module")
def sound(characters: DataSet, tmp_path_factory: pytest.TempPathFactory) -> Sound:
    """A run that goes well: its folder, its summary, and what it printed."""
    run = tmp_path_factory.mktemp("sound") / "run"
    return run, *trained(run, characters, steps=150)


def test_a_sound_run_is_measured_before_and_after_and_warned_of_nothing(
    sound: Sound,
) -> None:
    run, summary, printed = sound
    before, after = summary["before_training"], summary["after_training"]
    assert after["validation R@1"] == pytest.approx(summary["best_validation_R@1"])
    assert after["validation R@1"] > before["validation R@1"] + 0.05
    assert after["training R@1"] > before["training R@1"] + 0.05
    assert 4 < after["effective dimensions"] <= 64
    assert summary["warnings"] == []
    assert f"before training: R@1 {before['validation R@1']:.3f} on the validation classes" in printed
    assert (run / runs.START).is_file()


def test_a_learning_rate_a_hundred_times_too_high_is_told(characters: DataSet, tmp_path: Path) -> None:
    summary, _ = trained(tmp_path / "run", characters, lr=0.1)
    assert any("lower --optim.lr" in warning for warning in summary["warnings"])


def test_shuffled_labels_are_told(characters: DataSet, tmp_path: Path) -> None:
    train = characters.train
    shuffled = Part(train.labels[torch.randperm(len(train))], train.ids)
    summary, _ = trained(tmp_path / "run", replace(characters, train=shuffled))
    assert any("are not told apart" in warning for warning in summary["warnings"])


def test_a_crop_that_leaves_a_twentieth_is_told(characters: DataSet, sound: Sound, tmp_path: Path) -> None:
    """Fine-tuning a good network on tiny crops of characters makes it worse."""
    summary, _ = trained(tmp_path / "run", characters, init=sound[0], steps=150, augment=Augment("photo", crop=0.05))
    assert any("weaken --augment" in warning for warning in summary["warnings"])


def test_evaluation_stands_beside_what_the_weights_before_training_find(
    quick: Quick, tmp_path: Path, console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each part is searched once with the weights before training, which are the untrained weights of the seed."""
    parts = build_parts(quick())
    untrained = {name: value.clone() for name, value in parts.learner.embedder.state_dict().items()}
    fit(parts, tmp_path / "run", console)
    kept = load_file(tmp_path / "run" / runs.START)
    assert all(torch.equal(kept[name], untrained[name]) for name in untrained)
    first = evaluation.evaluate_run(tmp_path / "run", parts.data, "validation", ks=(1,))
    summary = runs.read_json(tmp_path / "run" / runs.SUMMARY)
    assert first["before_training"]["R@1"] == pytest.approx(summary["before_training"]["validation R@1"])
    assert first["effective_dimensions"] > 0
    searched = []
    search = evaluation.search_run
    monkeypatch.setattr(evaluation, "search_run", lambda *given: searched.append(given) or search(*given))
    again = evaluation.evaluate_run(tmp_path / "run", parts.data, "validation", ks=(1,))
    assert again["before_training"] == first["before_training"]
    assert len(searched) == 1
    (tmp_path / "run" / runs.START).unlink()
    assert evaluation.evaluate_run(tmp_path / "run", parts.data, "test")["before_training"] is None


def test_the_training_images_that_are_measured_are_of_whole_classes_with_something_to_find() -> None:
    labels = torch.cat([torch.arange(50), 50 + torch.arange(10).repeat_interleave(4)])
    sample = _whole_classes(Part(labels, torch.arange(len(labels))), 20)
    _, counts = sample.labels.unique(return_counts=True)
    assert counts.tolist() == [4] * 5


def test_dimensions_that_grew_have_not_collapsed() -> None:
    both = {"validation R@1": 0.4, "training R@1": 0.6, "effective dimensions": 2.6, "training classes measured": 90}
    summary = {"before_training": both, "after_training": both | {"effective dimensions": 2.8}, "dim": 256}
    assert warnings(summary) == []


def test_a_memory_that_was_never_looked_at_is_not_said_to_have_moved() -> None:
    floor = {"validation R@1": 0.4, "training R@1": 0.6, "effective dimensions": 9.0}
    summary = {"before_training": floor, "after_training": floor, "dim": 64, "memory_rows": 9, "memory_start": None}
    (told,) = warnings(summary | {"steps": 42}, every=42)
    assert "is checked every 42 steps, and the run had 42; train for longer, or give --memory.start" in told
    (told,) = warnings(summary | {"steps": 43}, every=42)
    assert "its rows moved too far all along" in told


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({}, []),
        ({"after_training": None}, []),
        ({"memory_rows": 9, "memory_start": None}, ["the memory never counted"]),
        ({"memory_rows": 9, "memory_start": 40}, []),
        ({"after": {"validation R@1": 0.39}}, ["training made it worse: validation R@1 was 0.400 before"]),
        ({"after": {"training R@1": 0.43}}, ["are not told apart: R@1 among their images is 0.430"]),
        ({"after": {"training R@1": 0.55}}, []),
        ({"after": {"effective dimensions": 1.2}}, ["embeddings have collapsed: they use 1.2 of 64 dimensions"]),
        ({"after": {"effective dimensions": 2.9}}, ["they use 2.9 of 64 dimensions, 9.0 before training"]),
        ({"after": {"effective dimensions": 2.9}, "training_classes": 8}, []),
        (
            {"after": {"effective dimensions": 2.9, "training classes measured": 3}, "training_classes": 9, "dim": 256},
            [],
        ),
        (
            {
                "after": {"effective dimensions": 2.9, "training classes measured": 90},
                "dim": 256,
                "training_classes": 20,
            },
            ["they use 2.9 of 256 dimensions, 9.0 before training"],
        ),
    ],
)
def test_what_is_said_of_a_run(change: dict[str, Any], told: list[str]) -> None:
    before = {"validation R@1": 0.4, "training R@1": 0.4, "effective dimensions": 9.0}
    after = {"validation R@1": 0.6, "training R@1": 0.7, "effective dimensions": 12.0} | change.pop("after", {})
    summary = {"before_training": before, "after_training": after, "dim": 64, "memory_rows": 0}
    summary |= {"training_classes": 100} | change
    said = warnings(summary)
    assert len(said) == len(told)
    assert all(part in sentence for part, sentence in zip(told, said, strict=True))


def test_a_memory_that_was_to_start_after_the_last_step_is_told_so(
    quick: Quick, tmp_path: Path, console: Console
) -> None:
    summary = fit(build_parts(quick(steps=4, start=100)), tmp_path / "run", console).summary
    (told,) = (one for one in summary["warnings"] if "memory" in one)
    assert told.startswith("the memory never counted: it was to start at step 100, after the 4 steps of the run; lower")


def test_a_best_model_of_before_the_memory_counted_is_told() -> None:
    measured = {"validation R@1": 0.5, "training R@1": 0.9, "effective dimensions": 9.0}
    summary = {"before_training": measured, "after_training": measured, "dim": 16, "training_classes": 9}
    summary |= {"memory_rows": 60, "memory_start": 30, "steps": 100}
    assert warnings({**summary, "best_step": 60}) == []
    (told,) = warnings({**summary, "best_step": 25, "best_validation_R@1": 1.0})
    assert told.endswith("no validation query is wrong there, so no later step can be better; more classes help")
    (told,) = warnings({**summary, "best_step": 25, "best_validation_R@1": 0.9})
    assert told.endswith("train for longer, or lower --optim.lr")
    assert told.startswith("the best model is of step 25, and the memory counted from step 30: it had no part in it")
