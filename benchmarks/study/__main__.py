r"""Run the study, a row a run, and go on where it stopped.

    python -m benchmarks.study --parts ab --fonts /usr/share/fonts --emoji emoji \
        --grocery grocery_store --weights lite0.safetensors

Without memory, with it, and naively, the learning rate is the one that validates best with seed 0, of the same three
(`results/study-rates.csv`); every condition takes the rate of the plain one, every other arm that of the memory. Each
run keeps the model that validates best and searches test once: the look is its row of `results/study.csv`.
`results/study-differences.csv` has, for each cell, R@1 with memory less without, paired over seeds and queries. A data
set whose place is not given is left out, and that is said.
"""

import argparse
import csv
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from benchmarks.study.cells import DEFAULT, LOSSES, NAIVE, RATES, SETTINGS, WITH, WITHOUT, Cell, cells, grocery_listing
from crossbatch import runs
from crossbatch.data.images import PartBatches, Reader
from crossbatch.data.records import DataSet
from crossbatch.data.transforms import Evenly, Preprocessing
from crossbatch.metrics import evaluate
from crossbatch.models import checkpoint
from crossbatch.training.assembly import assemble, load_data
from crossbatch.training.evaluation import embed
from crossbatch.training.settings import Settings
from crossbatch.training.train import fit

RESULTS = Path(__file__).parents[1] / "results"
RUNS, DIFFERENCES, SEARCHED = (RESULTS / f"study{name}.csv" for name in ("", "-differences", "-rates"))
DRAWS = 2000  # of seeds and queries, for an interval
SEARCHING = (WITHOUT, WITH, NAIVE)  # arms with a search of their own
Row = dict[str, Any]


def main() -> None:
    """Run what is missing, cell by cell."""
    options = _options()
    options.out.mkdir(parents=True, exist_ok=True)
    bases, loaded = _bases(options), dict[str, DataSet]()
    for cell in cells(options.parts):
        if cell.data not in bases or cell.data not in options.data or cell.loss not in options.losses:
            print(f"left out: {cell.data}, {cell.loss}")
            continue
        if cell.data not in loaded:
            loaded[cell.data] = load_data(bases[cell.data])
        study = Study(cell, bases[cell.data], cell.spoil(loaded[cell.data]), options.out)
        plainly = Study(replace(cell, condition=DEFAULT), study.plain, loaded[cell.data], options.out)
        seeds = min(cell.seeds, options.seeds)
        for arm in cell.arms:
            lr = plainly.search(arm if arm in SEARCHING else WITH)
            for seed in range(seeds):
                study.test(arm, seed, lr)
        for arm in cell.arms[1:]:
            _append(DIFFERENCES, _difference(options.out, cell, arm, seeds), keys=5)


@dataclass(frozen=True)
class Study:
    """The runs of a cell."""

    cell: Cell
    plain: Settings
    data: DataSet
    out: Path

    def train(self, arm: str, seed: int, lr: float) -> Path:
        """Its folder; one that was stopped goes on, and one that is there is left alone."""
        folder = self.out / f"{_name(self.cell, arm, seed)}-{lr:g}"
        if not runs.is_finished(folder):
            settings = self.cell.settings(self.plain, len(self.data.train), arm, seed, lr)
            fit(assemble(settings, self.data), folder, Console(width=120), resume=runs.has_checkpoint(folder))
        return folder

    def search(self, arm: str) -> float:
        """The learning rate that validates best with seed 0."""
        best = dict[float, float]()
        for lr in RATES[self.cell.data]:
            key = {"data": self.cell.data, "loss": self.cell.loss, "arm": arm, "lr": lr}
            best[lr] = runs.read_json(self.train(arm, 0, lr) / runs.SUMMARY)["best_validation_R@1"]
            _append(SEARCHED, {**key, "validation R@1": round(best[lr], 4)}, keys=len(key))
        return max(best, key=best.__getitem__)

    def test(self, arm: str, seed: int, lr: float) -> None:
        """Look at test, once, and keep which queries were right."""
        kept = self.out / f"{_name(self.cell, arm, seed)}.npy"
        if kept.is_file():
            return
        folder = self.train(arm, seed, lr)
        model, description = checkpoint.load(folder)
        evenly, reader = Evenly(Preprocessing.restore(description.preprocessing)), Reader(self.data.images)
        query = embed(model, PartBatches(reader, self.data.query, evenly))
        found, summary = evaluate(*query, *query), runs.read_json(folder / runs.SUMMARY)
        row = {
            **_cell(self.cell, arm),
            "seed": seed,
            "lr": lr,
            "steps": summary["steps"],
            "memory on": round(summary["memory_steps"] / summary["steps"], 3),
            "validation R@1": round(summary["best_validation_R@1"], 4),
            "R@1": round(found.recall[1], 4),
            "MAP@R": round(found.map_at_r, 4),
            "training seconds": summary["training_seconds"],
        }
        _append(RUNS, row, keys=6)
        np.save(kept, (found.best_rank == 1).numpy())


def _difference(out: Path, cell: Cell, arm: str, seeds: int) -> Row:
    """R@1 of an arm less that without memory, with a 95 % interval over seeds and queries drawn anew."""
    without, other = (
        np.stack([np.load(out / f"{_name(cell, one, seed)}.npy") for seed in range(seeds)]).astype(np.int8)
        for one in (WITHOUT, arm)
    )
    low, high = _interval(other - without)
    errors = 1 - other.mean(), 1 - without.mean()
    return {
        **_cell(cell, arm),
        "seeds": seeds,
        "difference": round(float((other - without).mean()), 4),
        "low": round(low, 4),
        "high": round(high, 4),
        "error ratio": round(float(errors[0] / errors[1]), 3) if errors[1] else None,
    }


def _interval(differences: NDArray[np.int8]) -> tuple[float, float]:
    """Of the mean of [seeds, queries], both drawn with replacement."""
    draw, (seeds, queries) = np.random.default_rng(0), differences.shape
    means = [
        differences[draw.integers(seeds, size=seeds)][:, draw.integers(queries, size=queries)].mean()
        for _ in range(DRAWS)
    ]
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


def _cell(cell: Cell, arm: str) -> Row:
    return {"part": cell.part, "data": cell.data, "loss": cell.loss, "condition": cell.condition, "arm": arm}


def _name(cell: Cell, arm: str, seed: int) -> str:
    return "-".join([cell.data, cell.loss, cell.condition, arm, str(seed)]).replace(" ", "_")


def _rows(path: Path) -> list[Row]:
    """Of a table, none where there is no file yet."""
    if not path.is_file():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def _append(path: Path, row: Row, *, keys: int) -> None:
    """Write a row, in place of the one with the same first fields if there is one."""
    key = [str(value) for value in list(row.values())[:keys]]
    kept = [one for one in _rows(path) if list(one.values())[:keys] != key]
    with path.open("w", newline="") as file:
        table = csv.DictWriter(file, list(row), lineterminator="\n")
        table.writeheader()
        table.writerows([*kept, row])


def _bases(options: argparse.Namespace) -> dict[str, Settings]:
    """The settings of the data sets whose places are known."""
    bases = {"glyphs": SETTINGS["glyphs"]}
    if options.fonts:
        bases["hanzi"] = replace(SETTINGS["hanzi"], fonts=[options.fonts])
    if options.emoji:
        bases["emoji"] = replace(SETTINGS["emoji"], root=options.emoji)
    if options.grocery and options.weights:
        grocery = SETTINGS["grocery"]
        model = replace(grocery.model, weights=options.weights)
        bases["grocery"] = replace(grocery, root=grocery_listing(options.grocery, options.out), model=model)
    return bases


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--parts",
        default="ab",
        help="a: defaults on every data set; and on glyphs, b: hostile settings, c: "
        "other memories, d: sizes of batch, e: sizes of memory",
    )
    parser.add_argument("--data", nargs="*", choices=SETTINGS, default=list(SETTINGS))
    parser.add_argument("--losses", nargs="*", choices=LOSSES, default=LOSSES)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--fonts", type=Path)
    parser.add_argument("--emoji", type=Path)
    parser.add_argument("--grocery", type=Path)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--out", type=Path, default=Path("runs", "study"))
    return parser.parse_args()


if __name__ == "__main__":
    main()
