"""What the memory gains each loss on glyphs: R@1 without and with it, three seeds, test looked at once a run.

`python -m benchmarks.gains --losses triplet circle`. Each loss is one `crossbatch compare`, its two arms searched over
the same learning rates on validation classes; one that was stopped goes on, one that is done is read. A core a process
and an afternoon for all. Every run of every comparison in the folder is a row of `results/gains.csv`, in place of
what was there of its loss.
"""

import argparse
import csv
import json
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from crossbatch.losses import LOSSES
from crossbatch.training.comparison import WITH, WITHOUT

RESULTS = Path(__file__).parent / "results" / "gains.csv"
RATES = "[0.001,0.003,0.01]"
FIELDS = ("loss", "arm", "lr", "steps", "seed", "validation R@1", "R@1", "MAP@R")


def main() -> None:
    options = _options()
    for loss in options.losses:
        folder = options.out / loss
        if not (folder / "comparison.json").is_file():
            command = [sys.executable, "-m", "crossbatch", "compare", "--loss", loss, "--learning_rates", RATES]
            subprocess.run([*command, "--equal_time", "false", "--out", str(folder)], check=True)  # noqa: S603
    comparisons = [json.loads(path.read_text()) for path in sorted(options.out.glob("*/comparison.json"))]
    rows = _others({comparison["loss"] for comparison in comparisons})
    rows += [row for comparison in comparisons for row in _rows(comparison)]
    with RESULTS.open("w", newline="") as file:
        table = csv.DictWriter(file, FIELDS, lineterminator="\n")
        table.writeheader()
        table.writerows(sorted(rows, key=lambda row: row["loss"]))
    print("| loss | learning rate, without and with | R@1 without | R@1 with | error × | seed by seed |")
    print("|---|---|---|---|---|---|")
    for comparison in sorted(comparisons, key=lambda one: one["error_ratio"][WITHOUT]["of means"]):
        print(_line(comparison))


def _others(losses: set[str]) -> list[dict[str, Any]]:
    """The rows of the losses that are not compared here, as they are."""
    if not RESULTS.is_file():
        return []
    with RESULTS.open(newline="") as file:
        return [row for row in csv.DictReader(file) if row["loss"] not in losses]


def _rows(comparison: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for arm in comparison["arms"]:
        if arm["name"] in (WITHOUT, WITH):
            for seed, (validation, *test) in enumerate(
                zip(arm["validation R@1"], arm["test"]["R@1"], arm["test"]["MAP@R"], strict=True)
            ):
                values = (f"{value:.4f}" for value in (validation, *test))
                yield dict(
                    zip(FIELDS, (comparison["loss"], arm["name"], arm["lr"], arm["steps"], seed, *values), strict=True)
                )


def _line(comparison: dict[str, Any]) -> str:
    arms = {arm["name"]: arm for arm in comparison["arms"]}
    recall = [
        f"{statistics.mean(values):.4f} ± {statistics.stdev(values):.4f}"
        for values in (arms[WITHOUT]["test"]["R@1"], arms[WITH]["test"]["R@1"])
    ]
    ratio = comparison["error_ratio"][WITHOUT]
    rates = f"{arms[WITHOUT]['lr']:g}, {arms[WITH]['lr']:g}"
    by_seed = ", ".join(f"{value:.3f}" for value in ratio["by seed"])
    return f"| {comparison['loss']} | {rates} | {recall[0]} | {recall[1]} | **{ratio['of means']:.3f}** | {by_seed} |"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--losses", nargs="*", default=[], choices=LOSSES, help="losses to compare; none: only read")
    parser.add_argument("--out", type=Path, default=Path("runs", "gains"))
    return parser.parse_args()


if __name__ == "__main__":
    main()
