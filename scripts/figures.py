"""Draw the figures of README and docs that show the method and a run: `make figures` runs it.

    python -m scripts.figures COMPARISON docs/figures

The figures are: the ring of the memory; how far images move by age, early and late in the run with memory; queries that
only one of the two runs answers correctly; and a screenshot of the report, if Chromium is installed.
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from benchmarks.study import gallery
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, Wedge

from crossbatch.runs import read_table

CLASSES = ("#1858d6", "#d9772b", "#2a9d55", "#8a55c9", "#c9a227", "#d64550", "#2aa5b8", "#7a7f88")
ROWS, BATCH = 32, 8
LONGEST = 500  # greatest age shown, in steps
INK, PALE = "#222222", "#8a8f98"


def main(comparison: Path, out: Path) -> None:
    """Draw all figures."""
    mpl.rcParams |= {"svg.hashsalt": "crossbatch", "font.size": 9, "axes.spines.top": False, "axes.spines.right": False}
    out.mkdir(parents=True, exist_ok=True)
    with_memory, without = (
        next(path for path in sorted(comparison.iterdir()) if path.name.startswith(arm))
        for arm in ("with-memory-lr", "without-memory-lr")
    )
    _save(ring(), out / "ring.svg")
    _save(drift(with_memory), out / "drift.svg")
    gallery.main([without, with_memory], out / "neighbours.png", (3, 1), 6, 2)
    gallery.main([without, with_memory], out / "study-gallery.png", (5, 3), 8, 1)
    screenshot(comparison / "report.html", out / "report.png")


def ring() -> Figure:
    """Draw a batch beside the memory, a ring into which the batch is written. Colours are classes."""
    draw = np.random.default_rng(3)
    old, new = draw.integers(0, len(CLASSES), ROWS), np.repeat(draw.permutation(len(CLASSES))[: BATCH // 2], 2)
    figure, axes = plt.subplots(figsize=(8, 3.9))
    step = 360 / ROWS
    for place in range(ROWS):
        start = 180 + BATCH * step / 2 - place * step  # the oldest rows lie towards the batch
        age = (place - BATCH) / ROWS
        faded = place < BATCH
        wedge = Wedge((3.1, 0), 1.5, start - step + 1, start - 1, width=0.42)
        wedge.set(facecolor=CLASSES[old[place]], alpha=0.3 if faded else 0.55 + 0.45 * age)
        wedge.set(edgecolor=PALE if faded else "none", linestyle=":", linewidth=0.8)
        axes.add_patch(wedge)
    for number, kind in enumerate(new):
        axes.add_patch(plt.Rectangle((-0.7, 0.72 - 0.2 * number), 0.55, 0.17, facecolor=CLASSES[kind]))
    axes.text(-0.43, 1.12, "batch", ha="center", color=INK, fontweight="bold")
    axes.text(-0.43, -1.02, "8 embeddings,\n2 of each class", ha="center", va="top", color=PALE, fontsize=8)
    axes.add_patch(_arrow((-0.05, 0.0), (1.5, 0.0), INK))
    axes.text(0.75, 0.1, "written over the\noldest rows", ha="center", color=INK, fontsize=8)
    axes.add_patch(_arrow((-0.05, 0.75), (2.2, 1.55), CLASSES[0], curve=-0.25))
    axes.text(0.62, 1.62, "compared with every row:\nthe memory term", ha="center", color=CLASSES[0], fontsize=8)
    axes.add_patch(_arrow((-0.78, 0.6), (-0.78, -0.6), CLASSES[1], curve=0.9))
    axes.text(-1.5, 0, "compared with\nitself: the\nbatch term", ha="right", va="center", color=CLASSES[1], fontsize=8)
    axes.text(3.1, 0.12, "memory", ha="center", va="center", color=INK, fontweight="bold")
    axes.text(
        3.1, -0.14, "32 rows; a row keeps its\nclass, image and step", ha="center", va="center", fontsize=8, color=PALE
    )
    axes.add_patch(
        FancyArrowPatch(
            (4.62, 0.75),
            (4.62, -0.75),
            connectionstyle="arc3,rad=-0.3",
            arrowstyle="-|>",
            mutation_scale=12,
            color=PALE,
        )
    )
    axes.text(5.0, 0, "older", rotation=-90, va="center", color=PALE, fontsize=8)
    axes.set(xlim=(-2.7, 5.3), ylim=(-1.7, 2.05), aspect="equal")
    axes.axis("off")
    return figure


def _arrow(start: tuple[float, float], end: tuple[float, float], colour: str, curve: float = 0) -> FancyArrowPatch:
    bend = f"arc3,rad={curve}"
    return FancyArrowPatch(start, end, connectionstyle=bend, arrowstyle="-|>", mutation_scale=12, color=colour, lw=1.4)


def drift(run: Path) -> Figure:
    """Draw how far the sample moved by the age of its embeddings: as stored, and after they are carried along."""
    table = read_table(run / "drift.csv")
    steps = sorted({int(row["step"]) for row in table})
    figure, axes = plt.subplots(figsize=(6.4, 3.4))
    shown = [steps[len(steps) * share // 20] for share in (5, 10, 18)]
    for step, colour in zip(shown, (CLASSES[1], CLASSES[0], CLASSES[2]), strict=True):
        for meter, dash in (("sample", "-"), ("carried", "--")):
            points = [
                (float(row["age"]), float(row["distance"]))
                for row in table
                if row["meter"] == meter and int(row["step"]) == step and float(row["age"]) <= LONGEST
            ]
            label = f"at step {step:,}" if meter == "sample" else ""
            axes.plot(*zip((0.0, 0.0), *sorted(points), strict=True), dash, marker=".", color=colour, label=label)
    spread = [float(row["distance"]) for row in table if row["meter"] == "class spread"][-1]
    axes.axhline(spread, color=PALE, linewidth=1, linestyle=":")
    axes.annotate("two images of one class", (0, spread), (2, -11), textcoords="offset points", color=PALE, fontsize=8)
    axes.plot([], [], "--", color=INK, label="carried along with the network")
    axes.set(xlabel="age of a row, steps", ylabel="mean squared distance moved", ylim=(0, None))
    axes.legend(frameon=False, fontsize=8)
    return figure


def screenshot(page: Path, out: Path) -> None:
    """Take a screenshot of the top of a page, in a window of 1,000 × 900 pixels."""
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if browser is None:
        print(f"no Chromium found: {out} stays as it is")
        return
    with tempfile.TemporaryDirectory() as folder:
        options = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--hide-scrollbars"]
        options += ["--disable-background-networking", "--window-size=1000,900", f"--user-data-dir={folder}"]
        called = [browser, *options, f"--screenshot={out.absolute()}", page.absolute().as_uri()]
        subprocess.run(called, check=True, capture_output=True)  # noqa: S603
    print(out)


def _save(figure: Figure, path: Path) -> None:
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)
    print(path)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
