"""Draw what the study's tables say, with `python -m benchmarks.study.figures`.

`docs/study-cells.svg`: what the memory gains, cell by cell, with 95 % intervals. `docs/study-sizes.svg`, once parts d
and e are there: R@1 against the size of the batch and of the memory, as in Fig. 1 of the paper.
"""

import csv
import statistics
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from benchmarks.study.cells import RATIOS, SMALL_BATCH, WITH, WITHOUT

TABLES, DOCS = (Path(__file__).parents[up] / name for up, name in ((1, "results"), (2, "docs")))
COLOURS = {WITHOUT: "#8a8f98", WITH: "#1858d6"}
SIZES = (16, 32, 64, 128, 256)
Table = list[dict[str, str]]


def main() -> None:
    mpl.rcParams |= {"svg.hashsalt": "crossbatch", "font.size": 9, "axes.spines.top": False, "axes.spines.right": False}
    _cells(_read("study-differences"))
    runs = _read("study")
    if {"d", "e"} <= {row["part"] for row in runs}:
        _sizes([row for row in runs if (row["data"], row["loss"]) == ("glyphs", "contrastive")])


def _read(name: str) -> Table:
    with (TABLES / f"{name}.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def _cells(table: Table) -> None:
    """R@1 with memory less without, a line a cell, all in percentage points."""
    table = [row for row in table if row["part"] in "ab"]
    figure, axes = plt.subplots(figsize=(7.5, 0.6 + 0.27 * len(table)))
    for place, row in enumerate(table):
        middle, low, high = (100 * float(row[name]) for name in ("difference", "low", "high"))
        colour = COLOURS[WITH] if row["arm"] == WITH else "#d9772b"
        axes.plot([low, high], [place, place], color=colour, linewidth=1.5)
        axes.plot(middle, place, "o", color=colour, markersize=4)
        axes.annotate(f"{middle:+.1f}", (high, place), (4, -3), textcoords="offset points", fontsize=7, color=colour)
    naive = [" (the authors' sum)" if row["arm"] != WITH else "" for row in table]
    names = [f"{row['data']}, {row['loss']}, {row['condition']}{note}" for row, note in zip(table, naive, strict=True)]
    axes.set_yticks(range(len(table)), names, fontsize=8)
    axes.invert_yaxis()
    axes.axvline(0, color="#222222", linewidth=1)
    axes.axvline(-0.5, color="#222222", linewidth=0.7, linestyle=":")
    axes.set_xscale("symlog", linthresh=5)
    axes.set_xticks([-20, -10, -5, 0, 5, 10, 20], ["−20", "−10", "−5", "0", "5", "10", "20"])
    axes.set_xlabel("R@1 with memory less without, percentage points, over seeds and queries; dotted: −0.5")
    _save(figure, "study-cells")


def _sizes(table: Table) -> None:
    figure, (by_batch, by_memory) = plt.subplots(1, 2, figsize=(9, 3.4), sharey=True)
    for arm, colour in COLOURS.items():
        for suffix, dash in (("", "-"), (", equal images", "--")):
            points = [(float(size), _recall(table, _condition(size, suffix), arm)) for size in SIZES]
            by_batch.plot(*zip(*points, strict=True), dash, marker=".", color=colour, label=f"{arm} memory{suffix}")
    by_batch.set_xscale("log", base=2)
    by_batch.set_xticks(SIZES, [str(size) for size in SIZES])
    by_batch.set(xlabel="images in a batch", ylabel="R@1 on test")
    by_batch.legend(frameon=False, fontsize=7)
    points = [(ratio, _recall(table, SMALL_BATCH, arm)) for arm, ratio in RATIOS.items()]
    by_memory.plot(
        *zip(*points, (1.0, _recall(table, SMALL_BATCH, WITH)), strict=True), marker=".", color=COLOURS[WITH]
    )
    by_memory.axhline(_recall(table, SMALL_BATCH, WITHOUT), color=COLOURS[WITHOUT], linewidth=1)
    by_memory.set(xscale="log", xlabel="rows of the memory ÷ training images, batch of 16; grey: none")
    _save(figure, "study-sizes")


def _condition(size: int, suffix: str) -> str:
    return "as by default" if size == 64 else f"batch of {size}{suffix}"


def _recall(table: Table, condition: str, arm: str) -> float:
    """The mean over seeds."""
    return statistics.mean(float(row["R@1"]) for row in table if (row["condition"], row["arm"]) == (condition, arm))


def _save(figure: Figure, name: str) -> None:
    figure.tight_layout()
    figure.savefig(DOCS / f"{name}.svg", metadata={"Date": None})
    print(DOCS / f"{name}.svg")


if __name__ == "__main__":
    main()
