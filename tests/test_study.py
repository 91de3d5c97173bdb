"""Tests of the study: its runs can start, its intervals cover, and finished cells are not run again."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from benchmarks.study import __main__ as study
from benchmarks.study.cells import CONDITIONS, DEFAULT, NAIVE, SETTINGS, WITH, WITHOUT, Cell, cells

from crossbatch import runs
from crossbatch.data.data_set import DataSet, Part, Search
from crossbatch.data.glyphs import GlyphImages
from crossbatch.training.settings import Settings

EVERY = list(cells("abcdefltp"))


def test_every_arm_of_every_cell_is_a_run_of_its_own_that_can_start() -> None:
    names = [(cell.part, cell.data, cell.loss, cell.condition, cell.arms) for cell in EVERY]
    assert len(set(names)) == len(names)
    for cell in EVERY:
        made = [cell.settings(SETTINGS[cell.data], 10_000, arm, 0, 0.001) for arm in cell.arms]
        for settings in made:
            settings.check()
            assert settings.loss.name == cell.loss
        assert all(one != other for place, one in enumerate(made) for other in made[:place])


def test_the_arms_of_a_comparison_differ_in_the_memory_alone() -> None:
    for condition in CONDITIONS:
        cell = Cell("b", "glyphs", "contrastive", condition)
        without, with_memory = (cell.settings(Settings(), 10_000, arm, 1, 0.003) for arm in (WITHOUT, WITH))
        assert replace(without, memory=with_memory.memory) == with_memory
        assert without.memory.size == 0
        as_then = replace(Settings().memory, start=with_memory.optim.steps // 5, follow=False)
        assert with_memory.memory == as_then


def test_the_naive_arm_is_as_the_authors_do_it() -> None:
    memory = Cell("b", "glyphs", "contrastive").settings(Settings(), 10_000, NAIVE, 0, 0.001).memory
    assert (memory.start, memory.fill, memory.earlier_only) == (1000, False, False)


def test_an_interval_covers_what_seeds_and_classes_vary_by() -> None:
    draw = np.random.default_rng(1)
    labels = np.arange(200).repeat(5)
    right = draw.random((2, 3, 200, 1)) < np.array([0.6, 0.8])[:, None, None, None]
    with_memory, without = (np.broadcast_to(right[arm], (3, 200, 5)).reshape(3, -1) for arm in (1, 0))
    low, high = study.interval(with_memory.astype(np.int8) - without, labels)
    assert low < with_memory.mean() - without.mean() < high
    assert 0.06 < high - low < 0.3  # the five queries of a class count as one sample
    assert study.interval(np.zeros((3, 1000), np.int8), labels) == (0, 0)


@pytest.mark.parametrize(("seeds", "told"), [(3, True), (1, True), (5, False)])
def test_what_the_tables_have_is_told(seeds: int, told: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(study, "RESULTS", tmp_path)
    cell = Cell("b", "glyphs", "contrastive", seeds=5)
    assert not study.is_told(cell, seeds)
    row = {"part": "b", "data": "glyphs", "loss": "contrastive", "condition": cell.condition}
    runs.write_table(tmp_path / "study-differences.csv", [row | {"arm": WITH, "than": WITHOUT, "seeds": 3}])
    assert study.is_told(cell, seeds) == told
    assert not study.is_told(replace(cell, part="e"), seeds)
    assert not study.is_told(replace(cell, loss="triplet"), seeds)
    assert not study.is_told(replace(cell, arms=(WITHOUT, WITH, "from step 0")), seeds)


def test_rows_take_the_place_of_those_with_their_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(study, "RESULTS", tmp_path)
    row = {"data": "glyphs", "loss": "contrastive", "arm": WITH}
    study.add_rows("study-rates", [])
    assert study.kept("study-rates") == []
    study.add_rows("study-rates", [row | {"lr": 0.01, "validation R@1": 0.9}, row | {"lr": 0.003, "validation R@1": 0}])
    study.add_rows("study-rates", [row | {"lr": 0.003, "validation R@1": 0.8}])
    assert [(each["lr"], each["validation R@1"]) for each in study.kept("study-rates")] == [
        ("0.003", "0.8"),
        ("0.01", "0.9"),
    ]


def test_rates_in_the_table_are_not_trained_again_and_the_others_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(study, "RESULTS", tmp_path)
    monkeypatch.setattr(study, "RATES", {"glyphs": (0.001, 0.003, 0.01)})
    trained: list[tuple[str, float]] = []

    def validation(_: object, arm: str, lr: float) -> float:
        trained.append((arm, lr))
        return {0.001: 0.7, 0.003: 0.8, 0.01: 0.6}[lr]

    monkeypatch.setattr(study.Study, "_validation", validation)
    row = {"data": "glyphs", "loss": "contrastive", "arm": WITH, "validation R@1": 0.9}
    study.add_rows("study-rates", [row | {"lr": 0.003}])
    cell, nothing = Cell("b", "glyphs", "contrastive"), Part(torch.zeros(0), torch.zeros(0))
    images = GlyphImages(np.zeros((0, 8, 8), np.uint8), np.zeros(0, np.int64), [])
    loaded = DataSet("some", images, (), nothing, nothing, {}, "0")
    found = study.Study(cell, Settings(), loaded, tmp_path).search()
    assert sorted(trained) == [(WITH, 0.001), (WITH, 0.01), (WITHOUT, 0.001), (WITHOUT, 0.003), (WITHOUT, 0.01)]
    assert {arm: study.rate_search.best(found, arm) for arm in cell.searched} == {WITHOUT: 0.003, WITH: 0.003}


def test_a_run_at_a_rate_that_was_not_chosen_is_in_no_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder has results for both rates, but only the one of the chosen rate becomes a row."""
    monkeypatch.setattr(study, "RESULTS", tmp_path)
    look = {"data": "glyphs", "loss": "nca", "condition": DEFAULT, "arm": WITH, "seed": 0}
    for lr in (0.01, 0.001):
        (tmp_path / str(lr)).mkdir()
        runs.write_json(tmp_path / str(lr) / study.LOOK, look | {"lr": lr})
    study.add_looks([tmp_path / "0.001"])
    assert [row["lr"] for row in study.kept("study")] == ["0.001"]


@pytest.mark.parametrize("condition", ["imbalanced classes", "10 % wrong labels"])
def test_a_condition_spoils_the_training_part_alone(condition: str) -> None:
    labels = torch.arange(100).repeat_interleave(10)
    part = Part(labels, torch.arange(1000))
    images = GlyphImages(np.zeros((0, 8, 8), np.uint8), np.zeros(0, np.int64), [])
    loaded = DataSet("some", images, (), part, part, {"test": Search(part)}, "0")
    spoilt = Cell("b", "glyphs", "contrastive", condition).spoil(loaded)
    assert spoilt.tests is loaded.tests
    assert spoilt.validation is loaded.validation
    if condition == "imbalanced classes":
        sizes = spoilt.train.labels.bincount()
        assert sizes.min() == 2
        assert sizes.max() == 10
        assert torch.equal(spoilt.train.labels, labels[spoilt.train.ids])
    else:
        wrong = (spoilt.train.labels != labels).float().mean()
        assert 0.07 < wrong < 0.13
