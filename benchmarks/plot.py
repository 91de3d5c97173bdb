"""Draw docs/figures/benchmark.svg from benchmarks/results/losses-rows.csv and losses.csv. Run with `make bench`."""

import csv
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt

from benchmarks.losses import RESULTS

PICTURE = Path(__file__).parent.parent / "docs" / "figures" / "benchmark.svg"
COLOURS = {"crossbatch": "#1858d6", "plain": "#8a8f98", "pytorch-metric-learning": "#d9772b", "floor": "#222222"}


def main() -> None:
    mpl.rcParams |= {"svg.hashsalt": "crossbatch", "font.size": 9, "axes.spines.top": False, "axes.spines.right": False}
    figure, (by_rows, by_loss) = plt.subplots(1, 2, figsize=(11, 4.2), width_ratios=(1, 1.25))
    _rows(by_rows, _read("losses-rows"))
    _losses(by_loss, _read("losses"))
    figure.tight_layout()
    figure.savefig(PICTURE, metadata={"Date": None})
    print(PICTURE)


def _read(name: str) -> list[dict[str, str]]:
    lines = (RESULTS / f"{name}.csv").read_text(encoding="utf-8").splitlines()
    return list(csv.DictReader(line for line in lines if not line.startswith("#")))


def _rows(axes: plt.Axes, table: list[dict[str, str]]) -> None:
    """Time against the size of the memory, at 128-d and batch 64."""
    table = [row for row in table if row["ms"] and row["dim"] == "128" and row["batch"] == "64"]
    for loss in ("", "contrastive", "multi-similarity"):
        for contender, colour in COLOURS.items():
            cells = [row for row in table if row["loss"] == loss and row["contender"].partition(",")[0] == contender]
            cells.sort(key=lambda row: int(row["rows"]))
            if cells:
                axes.plot(
                    [int(row["rows"]) for row in cells],
                    [float(row["ms"]) for row in cells],
                    marker=".",
                    color=colour,
                    linestyle="--" if loss == "multi-similarity" else "-",
                    label=f"{contender}{', ' if loss else ''}{loss}",
                )
    axes.set(xscale="log", yscale="log", xlabel="rows in the memory", ylabel="ms, forward and backward")
    axes.set_title("128-d, batch 64, random unit vectors", loc="left")
    axes.legend(frameon=False, fontsize=7)


def _losses(axes: plt.Axes, table: list[dict[str, str]]) -> None:
    """Draw the time of every loss as a multiple of the floor, at 60,000 rows."""
    table = [row for row in table if row["loss"]]
    names = list(dict.fromkeys(row["loss"] for row in table))
    contenders = list(COLOURS)[:3]
    for place, contender in enumerate(contenders):
        cells = {row["loss"]: row for row in table if row["contender"] == contender and row["ms"]}
        positions = [i + (place - 1) * 0.27 for i, name in enumerate(names) if name in cells]
        values = [float(cells[name]["of_floor"]) for name in names if name in cells]
        axes.barh(positions, values, height=0.25, color=COLOURS[contender], label=contender)
    axes.axvline(1, color=COLOURS["floor"], linewidth=1)
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.set(xscale="log", xlabel="time ÷ that of the two matrix products alone")
    axes.set_title("60,000 rows; no bar: over 20 s, out of memory, or not theirs", loc="left")
    axes.legend(frameon=False, fontsize=7)


if __name__ == "__main__":
    main()
