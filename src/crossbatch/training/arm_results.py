"""The results of the arms of a comparison: each run evaluated on test once, and the ratio of errors between arms."""

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from crossbatch import runs
from crossbatch.data.data_set import DataSet
from crossbatch.training.comparable import WITH
from crossbatch.training.evaluation import evaluate_run


def tested_arm(
    name: str,
    folders: Sequence[Path],
    steps: int,
    rate: float,
    loaded: DataSet,
    ks: Sequence[int],
    before: Sequence[dict[str, float] | None],
) -> tuple[dict[str, Any], list[dict[str, float] | None]]:
    """Evaluate each run of an arm once, on the first test list; returns the arm and the metrics before training."""
    part = next(iter(loaded.tests))
    tests = [
        _looked(folder, part, ks) or evaluate_run(folder, loaded, part, ks, before=start)
        for folder, start in zip(folders, before, strict=True)
    ]
    summaries = [runs.read_summary(folder) for folder in folders]
    metrics = list(filter(runs.is_metric, tests[0]))
    arm = {
        "name": name,
        "lr": rate,
        "steps": steps,
        "memory_rows": summaries[0]["memory_rows"],
        "runs": [folder.name for folder in folders],
        "validation R@1": [summary["best_validation_R@1"] for summary in summaries],
        "training_seconds": statistics.mean(summary["training_seconds"] for summary in summaries),
        "test": {metric: [test[metric] for test in tests] for metric in metrics},
        "effective_dimensions": [test["effective_dimensions"] for test in tests],
        "training R@1": [(summary.get("after_training") or {}).get("training R@1") for summary in summaries],
    }
    return arm, [test["before_training"] for test in tests]


def _looked(folder: Path, part: str, ks: Sequence[int]) -> dict[str, Any] | None:
    """The finished evaluation of a part by a stopped comparison, so that test is evaluated once; None without one."""
    if not (folder / runs.EXAMPLES / part / runs.WORST).is_file():
        return None
    return next(
        (look for look in runs.read_evaluations(folder) if look["part"] == part and all(f"R@{k}" in look for k in ks)),
        None,
    )


def error_ratios(arms: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """(1 − R@1) with memory ÷ (1 − R@1) of each arm without memory: of the means, and seed by seed."""
    errors = {arm["name"]: [1 - value for value in arm["test"]["R@1"]] for arm in arms}
    return {
        name: {
            "of means": sum(errors[WITH]) / sum(errors[name]) if sum(errors[name]) else None,
            "by seed": [a / b if b else None for a, b in zip(errors[WITH], errors[name], strict=True)],
        }
        for name in errors
        if name != WITH
    }


def warnings_of(folder: Path) -> list[str]:
    """What is wrong with a finished run, a sentence each."""
    warned: list[str] = runs.read_summary(folder).get("warnings", [])
    return warned
