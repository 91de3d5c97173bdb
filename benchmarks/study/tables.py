"""Print the study as Markdown tables, with `python -m benchmarks.study.tables`.

The first table has the gain of the memory for each loss and data set by default. The next ones compare each arm of
every cell with the first arm.
"""

import statistics
from collections.abc import Iterator, Sequence

from benchmarks.study.cells import DEFAULT, WITH, WITHOUT
from benchmarks.study.figures import TABLES, Table
from crossbatch.commands.compare import spread
from crossbatch.runs import read_table

GAINS = ("data", "loss", "learning rate, without and with", "R@1 without", "R@1 with", "error ×", "seed by seed")
CELLS = ("", "learning rate", "R@1", "R@1, the arm", "difference, 95 %", "error ×", "seed by seed", "memory on")
COLUMNS = ("data", "loss", "condition", "arm")


def main() -> None:
    looks = read_table(TABLES / "study.csv")
    differences = read_table(TABLES / "study-differences.csv")
    _print(GAINS, (_gain(row, looks) for row in differences if _is_gain(row)))
    for part in "abcdeflpt":
        rows = [row for row in differences if row["part"] == part]
        if rows:
            print(f"\nPart {part}\n")
            _print(CELLS, (_cell(row, looks) for row in rows))


def _is_gain(row: dict[str, str]) -> bool:
    return (row["condition"], row["than"], row["arm"]) == (DEFAULT, WITHOUT, WITH)


def _gain(row: dict[str, str], looks: Table) -> Sequence[str]:
    arms = _arms(row, looks)
    recalls = [[float(look["R@1"]) for look in arm] for arm in arms]
    rates = ", ".join(arm[0]["lr"] for arm in arms)
    seed_by_seed = ", ".join(f"{(1 - b) / (1 - a):.3f}" for a, b in zip(*recalls, strict=True))
    ratio = f"**{float(row['error ratio']):.3f}**"
    return (row["data"], row["loss"], rates, *(spread(recall) for recall in recalls), ratio, seed_by_seed)


def _arms(row: dict[str, str], looks: Table) -> list[Table]:
    """The rows of both arms of a difference, seed by seed."""
    return [
        [look for look in looks if all(look[name] == (row | {"arm": arm})[name] for name in COLUMNS)]
        for arm in (row["than"], row["arm"])
    ]


def _cell(row: dict[str, str], looks: Table) -> Sequence[str]:
    arms = _arms(row, looks)
    named = ", ".join(row[name] for name in COLUMNS if row[name] not in (DEFAULT, WITH))
    difference = f"{float(row['difference']):+.4f} ({float(row['low']):+.4f} to {float(row['high']):+.4f})"
    recalls = [_of_seeds([float(look["R@1"]) for look in arm]) for arm in arms]
    on = f"{statistics.mean(float(look['memory on'] or 0) for look in arms[1]):.2f}"
    return (named, arms[1][0]["lr"], *recalls, difference, row["error ratio"], row["seed by seed"], on)


def _of_seeds(recalls: list[float]) -> str:
    return spread(recalls) if len(recalls) > 1 else f"{recalls[0]:.4f}"


def _print(columns: Sequence[str], rows: Iterator[Sequence[str]]) -> None:
    for row in (columns, ["---"] * len(columns), *rows):
        print(f"| {' | '.join(row)} |")


if __name__ == "__main__":
    main()
