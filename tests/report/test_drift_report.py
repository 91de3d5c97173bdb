"""Tests of `crossbatch drift`: table, figure and sentence for a known drift."""

import json
from pathlib import Path

import pytest
import yaml

from crossbatch import runs
from crossbatch.__main__ import main
from crossbatch.errors import RunError
from crossbatch.report.drift import figure, read_drift

PER_STEP, AUGMENTATION = 0.0002, 0.05


def write_run(folder: Path, memory_rows: int, *, per_step: float = PER_STEP, follows: bool = False) -> Path:
    """Write a run of 2,000 steps in which all embeddings move evenly, three times as fast in the first half."""
    folder.mkdir()
    rows = []
    for step in range(100, 2001, 100):
        pace = per_step * (3 if step <= 1000 else 1)
        ages = [10, *range(100, min(step, 1001), 100)]
        rows += [row(step, "sample", age, age, age, pace * age) for age in ages]
        rows += [row(step, "carried", age, age, age, pace * age / 4) for age in ages if follows]
        rows.append(row(step, "augmentation", 0, 0, 0, AUGMENTATION))
        rows.append(row(step, "class spread", 0, 0, 0, 0.4))
        if memory_rows:
            bins = ((7, 9, 8), (10, 14, 12), (100, 149, 125), (500, 699, 580))
            rows += [row(step, "returning", a, b, mean, AUGMENTATION + pace * mean) for a, b, mean in bins]
    runs.write_table(folder / runs.DRIFT, rows)
    (folder / runs.CONFIG).write_text(yaml.safe_dump({"batch": {"classes": 16, "images": 4}}))
    runs.write_json(folder / runs.SUMMARY, {"memory_rows": memory_rows})
    return folder


def row(step: int, meter: str, first: int, last: int, age: float, distance: float) -> dict[str, object]:
    ages = {"first": first, "last": last, "age": age}
    return {"step": step, "meter": meter, **ages, "pairs": 128, "distance": distance}


def test_late_drift_stands_by_age_beside_what_augmentation_does(tmp_path: Path) -> None:
    drift = read_drift(write_run(tmp_path / "run", 10_000), 0.1)
    assert drift.augmentation == pytest.approx(AUGMENTATION)
    assert drift.class_spread == pytest.approx(0.4)
    table = {(age.first, age.last): (age.sample, age.returning) for age in drift.by_age}
    assert table[7, 9] == (None, pytest.approx(0.05 + 8 * PER_STEP))
    assert table[10, 14] == (pytest.approx(10 * PER_STEP), pytest.approx(0.05 + 12 * PER_STEP))
    assert table[1000, 1000] == (pytest.approx(0.2), None)
    assert table[500, 699][0] == pytest.approx(550 * PER_STEP)  # the mean over the intervals of 500 and 600 steps
    assert (500, pytest.approx(500 * PER_STEP)) in drift.sample
    assert (600, pytest.approx(600 * PER_STEP)) in drift.sample
    assert drift.returning[-1] == (580, pytest.approx(AUGMENTATION + 580 * PER_STEP))
    assert drift.by_step[1000][-1] == (2000, pytest.approx(0.2))
    assert drift.by_step[10][0] == (100, pytest.approx(30 * PER_STEP))


def test_means_are_over_pairs_and_not_over_measurements(tmp_path: Path) -> None:
    """The number of returning images differs between ages and steps."""
    run = write_run(tmp_path / "run", 10_000)
    few = row(2000, "returning", 2000, 2999, 2000, 1.0) | {"pairs": 1}
    many = row(2000, "returning", 2000, 2999, 2400, 0.2) | {"pairs": 3}
    runs.write_table(run / runs.DRIFT, [*runs.read_table(run / runs.DRIFT), few, many])
    assert read_drift(run, 0.1).returning[-1] == (2300, pytest.approx(0.4))


def test_what_following_leaves_stands_beside_it_and_is_what_the_sentence_is_of(tmp_path: Path) -> None:
    drift = read_drift(write_run(tmp_path / "run", 64_000, follows=True), 0.025)
    of_age = {(age.first, age.last): age for age in drift.by_age}
    assert of_age[10, 14].carried == pytest.approx(10 * PER_STEP / 4)
    assert of_age[1000, 1000].carried == pytest.approx(0.05)
    assert of_age[7, 9].carried is None
    assert drift.sentence.startswith("rows older than 500 steps differ by more than 0.025")
    assert "carried along as rows are" in figure(drift)


@pytest.mark.parametrize(
    ("memory_rows", "per_step", "sentence"),
    [
        (
            64_000,
            PER_STEP,
            "rows older than 500 steps differ by more than 0.1; the 64,000 rows of the memory",
        ),
        (6_400, 1e-6, "rows of 1,000 steps, the oldest measured, differ by 0.001, less than 0.1; the 6,400 rows"),
        (0, PER_STEP, "rows older than 500 steps differ by more than 0.1"),
        (0, 1e-6, "the oldest measured, differ by 0.001, less than 0.1"),
    ],
)
def test_the_sentence_says_how_far_rows_of_which_age_moved(
    memory_rows: int, per_step: float, sentence: str, tmp_path: Path
) -> None:
    assert sentence in read_drift(write_run(tmp_path / "run", memory_rows, per_step=per_step), 0.1).sentence


def test_the_figure_is_a_file_of_its_own_and_always_the_same(tmp_path: Path) -> None:
    drift = read_drift(write_run(tmp_path / "run", 10_000), 0.1)
    svg = figure(drift)
    assert svg == figure(drift)
    assert svg.startswith("<?xml")
    for text in ("over 1,000 steps", "of returning images", "between images of a class", "age, steps"):
        assert text in svg
    assert "var(--" not in svg
    assert "#0a0b0" not in svg


def test_the_command_prints_the_tables_and_writes_the_figure(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = write_run(tmp_path / "run", 64_000)
    assert main(["drift", str(run)]) == 0
    told = capsys.readouterr().out
    assert "rows older than 500 steps" in told
    assert "100 – 149" in told
    assert (run / runs.DRIFT_FIGURE).is_file()
    assert main(["drift", str(run), "--threshold", "0.05", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["sentence"].startswith("rows older than 250 steps")
    assert found["by_age"][0]["first"] == 7


def test_what_cannot_be_read_gets_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = write_run(tmp_path / "run", 0)
    assert main(["drift", str(run), "--threshold", "0"]) == 2
    assert "between 0 and 4, got 0" in capsys.readouterr().err
    (run / runs.DRIFT).write_text("step,meter\n1,sample\n")
    with pytest.raises(RunError, match=r"drift\.csv cannot be read"):
        read_drift(run, 0.1)
    runs.write_table(run / runs.DRIFT, [row(100, "sample", 10, 10, 10, 0.1)])
    with pytest.raises(RunError, match="no rows of augmentation, class spread"):
        read_drift(run, 0.1)
    (run / runs.DRIFT).unlink()
    with pytest.raises(RunError, match=r"every 100 steps of a run; train for longer, with --drift\.sample above 0"):
        read_drift(run, 0.1)
    runs.write_json(run / runs.COMPARISON, {})
    with pytest.raises(RunError, match="is a comparison: name one of the runs in it"):
        read_drift(run, 0.1)
