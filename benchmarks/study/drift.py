"""What the meters of drift say of a run, as rows of `results/study-drift.csv`."""

from pathlib import Path
from typing import Any

from crossbatch.report.drift import read_drift

LATE = "late"  # in place of a step: the mean of the last quarter of the run
SAMPLE, RETURNING, AUGMENTATION, CLASS_SPREAD = "sample", "returning", "augmentation", "class spread"


def drift_rows(folder: Path, of_run: dict[str, Any]) -> list[dict[str, Any]]:
    """The paper's meter by step; late in the run both meters by age, what augmentation adds, and a class's spread."""
    found = read_drift(folder, 0.1)
    measured = [(SAMPLE, step, age, moved) for age, series in found.by_step.items() for step, moved in series]
    measured += [(SAMPLE, LATE, age, moved) for age, moved in found.sample]
    measured += [(RETURNING, LATE, age, moved) for age, moved in found.returning]
    measured += [(AUGMENTATION, LATE, 0, found.augmentation), (CLASS_SPREAD, LATE, 0, found.class_spread)]
    names = ("meter", "step", "age", "distance")
    return [of_run | dict(zip(names, (*row[:3], round(row[3], 5)), strict=True)) for row in measured]
