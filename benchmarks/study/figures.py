"""Draw the figures of the study from its tables, with `python -m benchmarks.study.figures`.

All figures go to `docs/figures`. `study-cells.svg` shows what the memory gains in each cell, with 95 % intervals.
`study-sizes.svg` and, if part d has been run, `study-batches.svg` show R@1 against the size of the memory and of the
batch, as in Fig. 1 of the paper. `study-drift.svg` shows drift against the step, as in Fig. 3 of the paper.
"""

import statistics
from collections import Counter
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from benchmarks.study.cells import DEFAULT, EQUAL_IMAGES, EQUAL_STEPS, OWN_TOO, RATIOS, SMALL_BATCH, WITH, WITHOUT
from benchmarks.study.drift import LATE, SAMPLE
from crossbatch.report.drift import SHOWN_INTERVALS
from crossbatch.runs import read_table

TABLES, DOCS = (Path(__file__).parents[up] / name for up, name in ((1, "results"), (2, "docs/figures")))
COLOURS = {WITHOUT: "#8a8f98", WITH: "#1858d6"}
OTHER = "#d9772b"
Table = list[dict[str, str]]


def main() -> None:
    mpl.rcParams |= {"svg.hashsalt": "crossbatch", "font.size": 9, "axes.spines.top": False, "axes.spines.right": False}
    differences = read_table(TABLES / "study-differences.csv")
    _cells([row for row in differences if row["part"] in "abp" and OWN_TOO not in row["arm"]])
    runs = read_table(TABLES / "study.csv")
    table = [row for row in runs if (row["data"], row["loss"]) == ("glyphs", "contrastive")]
    if any(row["arm"] in RATIOS for row in table):
        _memory_sizes(table)
    if any(row["condition"] in EQUAL_STEPS.values() for row in table):
        _batch_sizes(table)
    drift = read_table(TABLES / "study-drift.csv")
    _drift([row for row in drift if row["meter"] == SAMPLE and row["step"] != LATE])


def _cells(table: Table) -> None:
    """Draw one line for each cell: R@1 of an arm minus that of the first arm, in percentage points."""
    figure, axes = plt.subplots(figsize=(8, 0.9 + 0.25 * len(table)))
    for place, row in enumerate(table):
        middle, low, high = (100 * float(row[name]) for name in ("difference", "low", "high"))
        colour = COLOURS[WITH] if row["arm"] == WITH else OTHER
        axes.plot([low, high], [place, place], color=colour, linewidth=1.5)
        axes.plot(middle, place, "o", color=colour, markersize=4)
        said = axes.annotate(f"{middle:+.1f}", (high, place), (4, -3), textcoords="offset points", fontsize=7)
        said.set(color=colour, bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.5})
    axes.set_yticks(range(len(table)), [_named(row) for row in table], fontsize=8)
    axes.invert_yaxis()
    axes.axvline(0, color="#222222", linewidth=1)
    axes.axvline(-0.5, color="#222222", linewidth=0.7, linestyle=":")
    axes.set_xlabel(
        "R@1 with memory − without, percentage points\nblue: with the recommended options, orange: other; dotted: −0.5"
    )
    _save(figure, "study-cells")


def _named(row: dict[str, str]) -> str:
    words = [row["data"], row["loss"], row["condition"], row["arm"].removeprefix(f"{WITH}, ")]
    return ", ".join(word for word in words if word not in (DEFAULT, WITH))


def _batch_sizes(table: Table) -> None:
    """Draw R@1 of one seed against the batch size."""
    figure, axes = plt.subplots(figsize=(5, 3.4))
    for arm, colour in COLOURS.items():
        for named, dash, label in (
            (EQUAL_STEPS, "-", "equal steps"),
            (EQUAL_STEPS | EQUAL_IMAGES, "--", "equal images"),
        ):
            points = _points(table, {float(size): (named[size], arm) for size in sorted(named)})
            if len(points[0]) > 1:  # batch size 64 belongs to both lines
                axes.plot(*points, dash, marker=".", color=colour, label=f"{arm} memory, {label}")
    axes.set_xscale("log", base=2)
    axes.set_xticks([16, 32, 64, 128, 256], ["16", "32", "64", "128", "256"])
    axes.set(xlabel="images in a batch", ylabel="R@1 on test")
    axes.legend(frameon=False, fontsize=7, handlelength=4)
    _save(figure, "study-batches")


def _memory_sizes(table: Table) -> None:
    """Draw mean R@1 over the seeds against the size of the memory, at a batch of 16."""
    figure, axes = plt.subplots(figsize=(5, 3.4))
    ratios = {ratio: (SMALL_BATCH, arm) for arm, ratio in (*RATIOS.items(), (WITH, 1.0))}
    axes.plot(*_points(table, ratios), marker=".", color=COLOURS[WITH], label="with memory")
    without = _points(table, dict.fromkeys(ratios, (SMALL_BATCH, WITHOUT)))
    axes.plot(*without, color=COLOURS[WITHOUT], linewidth=1, label="without memory")
    axes.set(xscale="log", xlabel="rows of the memory ÷ training images", ylabel="R@1 on test")
    axes.legend(frameon=False, fontsize=7)
    _save(figure, "study-sizes")


def _drift(table: Table) -> None:
    """Draw how far the sample moved against the step, with one panel for each data set."""
    measured = {(row["data"], row["step"]) for row in table}
    sets = [data for data, count in Counter(data for data, _ in sorted(measured)).items() if count > 1]  # with a curve
    figure, grid = plt.subplots(1, len(sets), figsize=(1 + 3.6 * len(sets), 3.2), sharey=True, squeeze=False)
    for axes, data in zip(grid[0], sets, strict=True):
        for arm, colour in COLOURS.items():
            for age, dash in zip(SHOWN_INTERVALS, (":", "--", "-"), strict=True):
                named = (data, arm, str(age))
                points = sorted(
                    (int(row["step"]), float(row["distance"]))
                    for row in table
                    if (row["data"], row["arm"], row["age"]) == named
                )
                if points:
                    axes.plot(*zip(*points, strict=True), dash, color=colour, label=f"Δ {age:,}, {arm} memory")
        axes.set(title=data, xlabel="step", yscale="log", ylim=(1e-3, 2))
    grid[0][0].set_ylabel("mean squared distance moved in Δ steps")
    grid[0][-1].legend(frameon=False, fontsize=7)
    _save(figure, "study-drift")


def _points(table: Table, wanted: dict[float, tuple[str, str]]) -> tuple[list[float], list[float]]:
    """The x values and mean R@1 of the wanted conditions and arms that have runs."""
    found = {
        x: statistics.mean(float(row["R@1"]) for row in rows)
        for x, key in wanted.items()
        if (rows := [row for row in table if (row["condition"], row["arm"]) == key])
    }
    return list(found), list(found.values())


def _save(figure: Figure, name: str) -> None:
    figure.tight_layout()
    figure.savefig(DOCS / f"{name}.svg", metadata={"Date": None})
    print(DOCS / f"{name}.svg")


if __name__ == "__main__":
    main()
