"""Tests of a race: it decides open options, alike for both arms, and only if it is short compared with the run."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from rich.console import Console

from crossbatch import runs
from crossbatch.__main__ import main
from crossbatch.data.augment import Augment
from crossbatch.data.data_set import DataSet, Part
from crossbatch.errors import DiskError
from crossbatch.training import comparison, race
from crossbatch.training.comparison import compare
from crossbatch.training.race import AUGMENT, NO_RACE, ROOM
from crossbatch.training.run_parts import load_data
from crossbatch.training.settings import (
    LoopSettings,
    LossSettings,
    MemorySettings,
    ModelSettings,
    OptimSettings,
    Settings,
)
from crossbatch.training.short_run import validated
from crossbatch.training.step_cost import StepCost

Quick = Callable[..., Settings]
Scores = dict[tuple[str, float], float]


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make a race pay on the small pictures of the tests."""
    monkeypatch.setattr(race, "QUERIES", 1)
    monkeypatch.setattr(race, "STEPS", 2)


@pytest.fixture
def open_settings(quick: Quick) -> Settings:
    return quick(steps=20, memory=MemorySettings())


def scored(monkeypatch: pytest.MonkeyPatch, scores: Scores) -> list[tuple[str, float]]:
    """Give short runs these scores by policy and room. Return the list of short runs."""
    ran: list[tuple[str, float]] = []

    def score(settings: Settings, loaded: DataSet, _: Path) -> float:
        assert settings.memory.size == 0
        assert not settings.refit
        assert len(loaded.validation)
        assert settings.optim.steps == race.STEPS
        ran.append((settings.augment.policy, settings.resolved().loss.init_args.get("room", 0.0)))
        return scores[ran[-1]]

    monkeypatch.setattr(race, "validated", score)
    return ran


@pytest.mark.parametrize(
    ("scores", "values"),
    [
        ({("auto", 0.7): 0.5, ("none", 0.7): 0.58, ("none", 1.0): 0.65}, {AUGMENT: "none", ROOM: 1.0}),
        ({("auto", 0.7): 0.5, ("none", 0.7): 0.58, ("none", 1.0): 0.6}, {AUGMENT: "none"}),
        ({("auto", 0.7): 0.5, ("none", 0.7): 0.57, ("auto", 1.0): 0.54}, {ROOM: 1.0}),
        ({("auto", 0.7): 0.3, ("none", 0.7): 0.3, ("auto", 1.0): 0.33}, {}),
        ({("auto", 0.7): 0.9, ("none", 0.7): 0.92, ("auto", 1.0): 0.94}, {ROOM: 1.0}),
        ({("auto", 0.7): 1.0, ("none", 0.7): 1.0, ("auto", 1.0): 1.0}, {}),
        ({("auto", 0.7): 0.5, ("none", 0.7): 0.49, ("auto", 1.0): 0.7}, {ROOM: 1.0}),
        ({("auto", 0.7): 0.5, ("none", 0.7): 0.51, ("auto", 1.0): 0.51}, {}),
    ],
)
def test_what_is_clearly_ahead_takes_the_place_of_the_default(
    scores: Scores,
    values: dict[str, object],
    open_settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    console: Console,
) -> None:
    ran = scored(monkeypatch, scores)
    found = race.race(open_settings, load_data(open_settings), console, Path("runs/x"))
    assert ran == list(scores)
    assert found.values == values
    applied = found.applied(open_settings).resolved()
    assert applied.augment.policy == values.get(AUGMENT, "auto")
    assert applied.loss.init_args["room"] == values.get(ROOM, 0.7)
    assert set(found.results) == {AUGMENT, ROOM}
    told = console.file.getvalue()  # type: ignore[attr-defined]
    none, default = scores["none", 0.7], scores["auto", 0.7]
    assert f"R@1 on validation after 2 steps: {none:.3f} with none, {default:.3f} with auto" in told


@pytest.mark.parametrize(
    ("change", "ran"),
    [
        ({"augment": Augment("photo")}, [("photo", 0.7), ("photo", 1.0)]),
        ({"augment": Augment(colour=0.1)}, [("auto", 0.7), ("auto", 1.0)]),
        ({"loss": LossSettings.named("sup-con", room=0.8)}, [("auto", 0.8), ("none", 0.8)]),
        ({"loss": LossSettings.named("multi-similarity")}, [("auto", 0.0), ("none", 0.0)]),
        ({"recommended": False}, [("auto", 0.0), ("none", 0.0)]),
        ({"augment": Augment("photo"), "recommended": False}, []),
        ({"optim": OptimSettings(steps=19)}, []),
        ({"model": ModelSettings("resnet18", pretrained=True)}, []),
        ({"loop": LoopSettings(devices=2)}, []),
        ({"loop": LoopSettings(race=False)}, []),
    ],
)
def test_only_what_is_open_is_raced_for_and_only_where_it_pays(
    change: dict[str, object],
    ran: list[tuple[str, float]],
    open_settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    console: Console,
) -> None:
    seen = scored(monkeypatch, dict.fromkeys(ran, 0.5))
    found = race.race(replace(open_settings, **change), load_data(open_settings), console, Path("runs/x"))
    assert seen == ran
    assert found.values == {}


def test_there_is_no_race_where_nothing_can_be_measured(
    open_settings: Settings, monkeypatch: pytest.MonkeyPatch, console: Console
) -> None:
    ran, loaded = scored(monkeypatch, {}), load_data(open_settings)
    part = loaded.validation
    one_class = replace(loaded, validation=part.select(part.labels == part.labels[0]))
    monkeypatch.setattr(race, "QUERIES", len(part) + 1)
    assert race.race(open_settings, loaded, console, Path("runs/x")) == NO_RACE
    monkeypatch.setattr(race, "QUERIES", 1)
    assert race.race(open_settings, one_class, console, Path("runs/x")) == NO_RACE
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert race.race(open_settings, loaded, console, Path("runs/x")) == NO_RACE
    assert not ran


def test_a_data_set_that_says_what_suits_is_raced_for_room_alone(
    open_settings: Settings, monkeypatch: pytest.MonkeyPatch, console: Console
) -> None:
    ran = scored(monkeypatch, {("auto", 0.7): 0.5, ("auto", 1.0): 0.5})
    race.race(open_settings, replace(load_data(open_settings), policy="drawn"), console, Path("runs/x"))
    assert len(ran) == 2


def test_without_room_on_the_disk_the_defaults_are_taken(
    open_settings: Settings, monkeypatch: pytest.MonkeyPatch, console: Console
) -> None:
    def full(*_: object) -> float:
        raise DiskError("no room on the disk")

    monkeypatch.setattr(race, "validated", full)
    assert race.race(open_settings, load_data(open_settings), console, Path("runs/x")) == NO_RACE
    assert "the defaults are taken, since a short run could not be written" in console.file.getvalue()  # type: ignore[attr-defined]


def test_a_comparison_races_once_for_both_arms(
    open_settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, console: Console
) -> None:
    scores = {("auto", 0.7): 0.5, ("none", 0.7): 0.7, ("none", 1.0): 0.8}
    ran = scored(monkeypatch, scores)
    monkeypatch.setattr(comparison, "measure", lambda *arms, start: StepCost(1.0, 1.0))
    settings = replace(open_settings, memory=MemorySettings(start=4))
    result = compare(settings, tmp_path / "c", console, seeds=1, equal_time=False)
    for arm in result["arms"]:
        config = runs.read_config(tmp_path / "c" / arm["runs"][0])
        assert config["augment"]["policy"] == "none"
        assert config["loss"]["init_args"]["room"] == 1.0
    assert "0.800 with 1.0, 0.700 with 0.7" in runs.read_decided(tmp_path / "c")[ROOM]
    again = compare(settings, tmp_path / "c", console, seeds=1, equal_time=False)
    assert len(ran) == len(scores)
    assert again["arms"][0]["runs"] == result["arms"][0]["runs"]


def test_a_short_run_is_really_trained_and_leaves_nothing(quick: Quick, tmp_path: Path) -> None:
    settings = race._short(quick(steps=20))
    assert 0 < validated(settings, load_data(settings), tmp_path / "runs" / "x") <= 1
    assert not list((tmp_path / "runs").iterdir())


def test_a_large_validation_part_is_sampled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(race, "IMAGES", 40)
    labels = torch.tensor([0] * 100 + [1] * 5 + [2] * 60)
    few = race._sample(Part(labels, torch.arange(len(labels))))
    assert [int((few.labels == label).sum()) for label in range(3)] == [13, 5, 13]
    assert torch.equal(few.labels, labels[few.ids])
    many = race._sample(Part(torch.arange(30).repeat_interleave(3), torch.arange(90)))
    assert many.classes == 10
    assert len(many) == 30
    small = Part(labels[:40], torch.arange(40))
    assert race._sample(small) is small


@pytest.mark.parametrize("refit", [[], ["--refit"]])
def test_the_commands_take_what_is_ahead_keep_the_reason_and_go_on(
    refit: list[str],
    open_settings: Settings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    ran = scored(monkeypatch, {("auto", 0.7): 0.5, ("none", 0.7): 0.7, ("none", 1.0): 0.8})
    monkeypatch.setattr(comparison, "measure", lambda *arms, start: StepCost(1.0, 1.0))
    runs.write_options(tmp_path / "options.yaml", open_settings.as_dict())
    options = ["--config", str(tmp_path / "options.yaml"), *refit]
    assert main(["train", *options, "--out", str(tmp_path / "run")]) == 0
    config = runs.read_config(tmp_path / "run")
    assert (config["augment"]["policy"], config["loss"]["init_args"]["room"]) == ("none", 1.0)
    assert "0.700 with none, 0.500 with auto" in runs.read_decided(tmp_path / "run")[AUGMENT]
    said = capsys.readouterr()
    assert "loss, room 1.0 (R@1 on validation after 2 steps: 0.800 with 1.0, 0.700 with 0.7)" in said.out + said.err
    command = ["compare", *options, "--out", str(tmp_path / "c"), "--learning_rates", "[0.01]", "--equal_time", "false"]
    command += ["--memory.start", "4"]
    assert main([*command, "--seeds", "1"]) == 0
    assert main([*command, "--seeds", "2"]) == 0
    assert len(ran) == 6
    capsys.readouterr()
    assert main([*command, "--augment.policy", "photo"]) == 2
    assert "is not empty" in capsys.readouterr().err
