"""Read the drift meters of a run for `results/study-drift.csv` and a column of `results/study.csv`."""

from pathlib import Path
from typing import Any

from scipy.stats import spearmanr

from crossbatch import runs
from crossbatch.report.drift import read_drift

LATE = "late"  # stands in place of a step: the mean over the last quarter of the run
SAMPLE, RETURNING, AUGMENTATION, CLASS_SPREAD = "sample", "returning", "augmentation", "class spread"


def agreement(folder: Path) -> float | None:
    """Rank correlation of the two meters over ages that both measured late in a run. None for fewer than three."""
    if not (folder / runs.DRIFT).is_file():
        return None
    found = read_drift(folder, 0.1)
    both = [(row.sample, row.returning) for row in found.by_age if row.sample is not None and row.returning is not None]
    if len(both) < 3:
        return None
    return round(float(spearmanr(*zip(*both, strict=True)).statistic), 3)


def drift_rows(folder: Path, of_run: dict[str, Any]) -> list[dict[str, Any]]:
    """The sample meter by step. Late in the run: both meters by age, augmentation distance and class spread."""
    found = read_drift(folder, 0.1)
    measured = [(SAMPLE, step, age, moved) for age, series in found.by_step.items() for step, moved in series]
    measured += [(SAMPLE, LATE, age, moved) for age, moved in found.sample]
    measured += [(RETURNING, LATE, age, moved) for age, moved in found.returning]
    measured += [(AUGMENTATION, LATE, 0, found.augmentation), (CLASS_SPREAD, LATE, 0, found.class_spread)]
    names = ("meter", "step", "age", "distance")
    return [of_run | dict(zip(names, (*row[:3], round(row[3], 5)), strict=True)) for row in measured]
