r"""Run the study, with one table row for each run, and continue where it stopped.

    python -m benchmarks.study --parts ab --fonts /usr/share/fonts --emoji emoji \
        --grocery grocery_store --weights lite0.safetensors

The learning rate is the one that validates best with seed 0. The same rates are searched without and with memory, and
the search goes on beyond an end of the range that is best (`results/study-rates.csv`). Every condition uses the rates
of the plain condition. A longer arm without memory uses the rate of the arm without; other arms use the rate of the arm
with memory. Each run keeps the model that validates best and searches test once; the result is a row of
`results/study.csv`. Its column `meters agree` is the rank correlation of two drift meters over age, late in the run.
`results/study-differences.csv` has the difference in R@1 of each arm from the first arm of its cell, paired over seeds
and queries. `results/study-drift.csv` has the drift meters of contrastive runs with seed 0, by default and in long
runs. All four tables grow with each cell. A cell whose rows are in the tables is not run again, whether or not its run
folders exist; remove the rows to run it again. A run that is shared with another cell is trained and searched again if
its folder is gone, with the same result. A data set whose path is not given is left out, and a message says so.
"""

import argparse
import os
import platform
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console

from benchmarks.study.cells import DEFAULT, LONG, LONGER, RATES, SETTINGS, WITH, WITHOUT, Cell, cells, grocery_listing
from benchmarks.study.drift import agreement, drift_rows
from crossbatch import losses, runs
from crossbatch.data.data_set import DataSet
from crossbatch.errors import DivergedError
from crossbatch.training import rate_search
from crossbatch.training.comparison import train_once
from crossbatch.training.part_search import search_run
from crossbatch.training.run_parts import load_data
from crossbatch.training.settings import Settings

RESULTS = Path(__file__).parents[1] / "results"
LOOK, RIGHT = "look.json", "right.npy"
DRAWS = 2000  # resamples for an interval
KEYS = {  # columns that identify a row of each table
    "study": ("data", "loss", "condition", "arm", "seed"),
    "study-rates": ("data", "loss", "arm", "lr"),
    "study-differences": ("part", "data", "loss", "condition", "arm", "than"),
    "study-drift": ("data", "arm", "meter", "step", "age"),
}
Row = dict[str, Any]
CONSOLE = Console(width=120)


def main() -> None:
    """Run the missing cells, one after another."""
    options = _options()
    options.out.mkdir(parents=True, exist_ok=True)
    bases, loaded = _bases(options), dict[str, DataSet]()
    for cell in cells(options.parts):
        if cell.data not in options.data or cell.loss not in options.losses:
            continue
        if cell.data not in bases:
            print(f"left out, its place is not given: {cell.data}, {cell.loss}")
            continue
        if is_told(cell, options.seeds):
            print(f"in the tables already: {cell.data}, {cell.loss}, {cell.condition}, {', '.join(cell.arms)}")
            continue
        if cell.data not in loaded:
            loaded[cell.data] = load_data(bases[cell.data])
        plain = Study(replace(cell, condition=DEFAULT), bases[cell.data], loaded[cell.data], options.out)
        study = replace(plain, cell=cell, data=cell.spoil(plain.data))
        found, seeds = plain.search(), range(min(cell.seeds, options.seeds))
        add_rows("study-rates", [{name: row[name] for name in row if name != "validation MAP@R"} for row in found])
        rates = {arm: rate_search.best(found, arm) or 0.0 for arm in cell.searched}
        rates[LONGER] = rates[cell.searched[0]]
        chosen = {arm: rates.get(arm, rates[cell.searched[1]]) for arm in cell.arms}
        looks = {arm: [study.look(arm, seed, chosen[arm]) for seed in seeds] for arm in cell.arms}
        add_looks(folder for folders in looks.values() for folder in folders)
        rights = {arm: np.stack([np.load(folder / RIGHT) for folder in folders]) for arm, folders in looks.items()}
        add_rows("study-differences", study.differences(rights))


@dataclass(frozen=True)
class Study:
    """The runs of a cell, each in its own folder."""

    cell: Cell
    plain: Settings
    data: DataSet
    out: Path

    def folder(self, arm: str, seed: int, lr: float) -> Path:
        """The folder of a run. A folder that was trained with other settings is refused."""
        folder = self.out / _name(*self._row(arm).values(), f"seed {seed}", f"lr {lr:g}")
        if (folder / runs.CONFIG).is_file() and runs.read_config(folder) != self.settings(arm, seed, lr).as_dict():
            raise SystemExit(f"{folder} was trained with other settings: remove it, or name another --out")
        return folder

    def settings(self, arm: str, seed: int, lr: float) -> Settings:
        """The settings of a run."""
        return self.cell.settings(self.plain, len(self.data.train), arm, seed, lr)

    def search(self) -> list[Row]:
        """Validation scores of the learning rates, for the two arms whose rates are searched."""
        searched = {"data": self.cell.data, "loss": self.cell.loss}
        known = {
            (row["arm"], float(row["lr"])): float(row["validation R@1"])
            for row in kept("study-rates")
            if searched.items() <= row.items()
        }

        def score(arm: str, lr: float) -> tuple[float, float]:
            recall = known[arm, lr] if (arm, lr) in known else self._validation(arm, lr)
            return recall, 0.0  # ties are not broken by MAP@R

        found = rate_search.search(score, self.cell.searched, RATES[self.cell.data])
        return [{**searched, **row} for row in found]

    def _validation(self, arm: str, lr: float) -> float:
        folder = self.folder(arm, 0, lr)
        try:
            train_once(self.settings(arm, 0, lr), self.data, folder, CONSOLE)
        except DivergedError:
            return 0.0
        return round(float(runs.read_summary(folder)["best_validation_R@1"]), 4)

    def look(self, arm: str, seed: int, lr: float) -> Path:
        """Train, search test once, and return the folder with the result. A diverged run has no correct queries."""
        folder, settings = self.folder(arm, seed, lr), self.settings(arm, seed, lr)
        if not (folder / LOOK).is_file():
            row = {**self._row(arm), "seed": seed, "lr": settings.optim.lr, "steps": settings.optim.steps}
            try:
                train_once(settings, self.data, folder, CONSOLE)
            except DivergedError:
                right, measured = np.zeros(len(self.data.query), bool), {"R@1": 0.0}
            else:
                found = search_run(folder, self.data, "test").measured
                summary = runs.read_summary(folder)
                right = (found.best_rank == 1).numpy()
                measured = {
                    "memory on": summary["memory_steps"] / summary["steps"],
                    "validation R@1": summary["best_validation_R@1"],
                    "R@1": found.recall[1],
                    "MAP@R": found.map_at_r,
                    "training seconds": summary["training_seconds"],
                }
            np.save(folder / RIGHT, right)
            measured = {name: round(value, 4) for name, value in measured.items()}
            runs.write_json(folder / LOOK, row | measured | {"machine": machine()})
        return folder

    def differences(self, rights: dict[str, NDArray[np.bool_]]) -> list[Row]:
        """The difference in R@1 of each arm [seeds, queries] from the first arm, with its interval."""
        baseline, *others = rights
        labels = self.data.query.labels.numpy()
        rows = []
        for arm in others:
            differences = rights[arm].astype(np.int8) - rights[baseline]
            low, high = interval(differences, labels)
            errors = 1 - rights[arm].mean(), 1 - rights[baseline].mean()
            rows.append(
                {
                    "part": self.cell.part,
                    **self._row(arm),
                    "than": baseline,
                    "seeds": len(differences),
                    "difference": round(float(differences.mean()), 4),
                    "low": round(low, 4),
                    "high": round(high, 4),
                    "error ratio": round(float(errors[0] / errors[1]), 3) if errors[1] else None,
                    "seed by seed": " ".join(f"{value:+.4f}" for value in differences.mean(1)),
                }
            )
        return rows

    def _row(self, arm: str) -> Row:
        return {"data": self.cell.data, "loss": self.cell.loss, "condition": self.cell.condition, "arm": arm}


def interval(differences: NDArray[np.int8], labels: NDArray[np.int64]) -> tuple[float, float]:
    """95 % bootstrap interval of the mean of [seeds, queries]: seeds, and whole classes of queries, are resampled.

    With three seeds the interval is too narrow for the variance between seeds: read it with the differences by seed.
    """
    low, high = np.quantile(drawn_means(differences, labels), [0.025, 0.975])
    return float(low), float(high)


def drawn_means(differences: NDArray[np.int8], labels: NDArray[np.int64]) -> NDArray[np.float64]:
    """Means of [seeds, queries] when seeds and classes are drawn with replacement, DRAWS times."""
    draw = np.random.default_rng(0)
    _, of_class = np.unique(labels, return_inverse=True)
    sizes = np.bincount(of_class)
    sums = np.stack([np.bincount(of_class, one, len(sizes)) for one in differences])
    means = []
    for _ in range(DRAWS):
        classes = draw.integers(len(sizes), size=len(sizes))
        seeds = draw.integers(len(sums), size=len(sums))
        means.append(sums[seeds][:, classes].mean(0).sum() / sizes[classes].sum())
    return np.array(means)


def add_rows(name: str, rows: list[Row]) -> None:
    """Add rows to a table of results, in place of rows with the same key."""
    if not rows:
        return
    by_key = {tuple(str(row[column]) for column in KEYS[name]): row for row in [*kept(name), *rows]}
    columns = dict.fromkeys(column for row in by_key.values() for column in row)
    runs.write_table(RESULTS / f"{name}.csv", [dict.fromkeys(columns, "") | by_key[key] for key in sorted(by_key)])


def add_looks(folders: Iterable[Path]) -> None:
    """Add the test results and drift meters of these run folders. Other folders in --out get no row."""
    for folder in folders:
        add_rows("study", [runs.read_json(folder / LOOK) | {"meters agree": agreement(folder)}])
        add_rows("study-drift", _drift(folder))


def _drift(folder: Path) -> list[Row]:
    """Drift rows of contrastive runs with seed 0, default or long, without or with memory; none for other runs."""
    look = runs.read_json(folder / LOOK)
    if (look["loss"], look["seed"]) != ("contrastive", 0) or look["condition"] not in (DEFAULT, LONG):
        return []
    if look["arm"] not in (WITHOUT, WITH) or not (folder / runs.DRIFT).is_file():
        return []
    named = look["data"] if look["condition"] == DEFAULT else f"{look['data']}, {look['condition']}"
    return drift_rows(folder, {"data": named, "arm": look["arm"]})


def kept(name: str) -> list[dict[str, str]]:
    """The current rows of a table of results."""
    path = RESULTS / f"{name}.csv"
    return runs.read_table(path) if path.is_file() else []


def is_told(cell: Cell, seeds: int) -> bool:
    """Whether the tables have all arms of a cell with at least this many seeds."""
    told = {
        (row["arm"], row["than"])
        for row in kept("study-differences")
        if (row["part"], row["data"], row["loss"], row["condition"])
        == (cell.part, cell.data, cell.loss, cell.condition)
        and int(row["seeds"]) >= min(cell.seeds, seeds)
    }
    return told >= {(arm, cell.arms[0]) for arm in cell.arms[1:]}


def machine() -> str:
    """Processor, instruction set and cores. A run's time depends on them, and by rounding its results do too."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    cpus = Path("/proc/cpuinfo")
    told = [line for line in cpus.read_text().splitlines() if line.startswith("model name")] if cpus.is_file() else []
    name = told[0].partition(":")[2].strip() if told else platform.machine()
    return f"{name}, {torch.backends.cpu.get_cpu_capability()}, cores: {len(os.sched_getaffinity(0))}"


def _name(*words: object) -> str:
    """A file name or folder name made of words."""
    return "-".join(str(word) for word in words).replace(" ", "_").replace("%", "percent")


def _bases(options: argparse.Namespace) -> dict[str, Settings]:
    """The settings of the data sets whose paths are given."""
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
        help="a: defaults on every data set; and on glyphs, b: hostile settings, c: other memories, d: sizes of batch, "
        "e: sizes of memory, f: long runs, l: the other losses, t: at equal time; p: losses as published, "
        "triplet on every data set",
    )
    parser.add_argument("--data", nargs="*", choices=SETTINGS, default=list(SETTINGS))
    parser.add_argument("--losses", nargs="*", choices=losses.LOSSES, default=list(losses.LOSSES))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--fonts", type=Path)
    parser.add_argument("--emoji", type=Path)
    parser.add_argument("--grocery", type=Path)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--out", type=Path, default=Path("runs", "study"))
    return parser.parse_args()


if __name__ == "__main__":
    main()
