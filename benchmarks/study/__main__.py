r"""Run the study, a row a run, and go on where it stopped.

    python -m benchmarks.study --parts ab --fonts /usr/share/fonts --emoji emoji \
        --grocery grocery_store --weights lite0.safetensors

The learning rate is the one that validates best with seed 0, of the same ones without memory and with it, beyond an end
that is best (`results/study-rates.csv`); every condition takes the rate of the plain one, every further arm that of the
memory. Each run keeps the model that validates best and searches test once: the look is a row of `results/study.csv`.
`results/study-differences.csv` has R@1 of an arm less that of the first one of its cell, paired over seeds and queries,
`results/study-drift.csv` what the meters say of contrastive by default and in long runs, seed 0; `meters agree` in
`study.csv` is the rank correlation of the two over age, late in the run. All four grow with each cell. What is in them
of a cell is not done again, with or without the run folders it came from: to have it run anew, remove its rows. A run
that another cell shares is, where its folder is gone: its look is the second then, and repeats the first. A data set
whose place is not given is left out, and that is said.
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
DRAWS = 2000  # of seeds and classes, for an interval
KEYS = {  # of the rows of a table
    "study": ("data", "loss", "condition", "arm", "seed"),
    "study-rates": ("data", "loss", "arm", "lr"),
    "study-differences": ("part", "data", "loss", "condition", "arm", "than"),
    "study-drift": ("data", "arm", "meter", "step", "age"),
}
Row = dict[str, Any]
CONSOLE = Console(width=120)


def main() -> None:
    """Run what is missing, cell by cell."""
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
        add_rows("study-rates", found)
        rates = {arm: rate_search.best(found, arm) or 0.0 for arm in cell.searched}
        rates[LONGER] = rates[cell.searched[0]]
        chosen = {arm: rates.get(arm, rates[cell.searched[1]]) for arm in cell.arms}
        looks = {arm: [study.look(arm, seed, chosen[arm]) for seed in seeds] for arm in cell.arms}
        add_looks(folder for folders in looks.values() for folder in folders)
        rights = {arm: np.stack([np.load(folder / RIGHT) for folder in folders]) for arm, folders in looks.items()}
        add_rows("study-differences", study.differences(rights))


@dataclass(frozen=True)
class Study:
    """The runs of a cell, a folder each."""

    cell: Cell
    plain: Settings
    data: DataSet
    out: Path

    def folder(self, arm: str, seed: int, lr: float) -> Path:
        """Where a run is; it must be of the settings that it would get today."""
        folder = self.out / _name(*self._row(arm).values(), f"seed {seed}", f"lr {lr:g}")
        if (folder / runs.CONFIG).is_file() and runs.read_config(folder) != self.settings(arm, seed, lr).as_dict():
            raise SystemExit(f"{folder} was trained with other settings: remove it, or name another --out")
        return folder

    def settings(self, arm: str, seed: int, lr: float) -> Settings:
        """Of a run."""
        return self.cell.settings(self.plain, len(self.data.train), arm, seed, lr)

    def search(self) -> list[Row]:
        """What the learning rates of the two searched arms validate at."""
        searched = {"data": self.cell.data, "loss": self.cell.loss}
        known = {
            (row["arm"], float(row["lr"])): float(row["validation R@1"])
            for row in kept("study-rates")
            if searched.items() <= row.items()
        }

        def score(arm: str, lr: float) -> float:
            return known[arm, lr] if (arm, lr) in known else self._validation(arm, lr)

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
        """Search test, once: the folder has which queries were right, none of a run that diverged."""
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
        """R@1 of each arm [seeds, queries] less that of the first, over seeds and classes drawn anew."""
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
    """95 % of the mean of [seeds, queries]: seeds, and classes with all their queries, drawn with replacement.

    Of three seeds this is narrower than seeds warrant: read it beside the differences seed by seed.
    """
    low, high = np.quantile(drawn_means(differences, labels), [0.025, 0.975])
    return float(low), float(high)


def drawn_means(differences: NDArray[np.int8], labels: NDArray[np.int64]) -> NDArray[np.float64]:
    """The mean of [seeds, queries] of seeds and classes drawn with replacement, again and again."""
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
    """Rows of a table of the results, in the place of those with the same key."""
    if not rows:
        return
    by_key = {tuple(str(row[column]) for column in KEYS[name]): row for row in [*kept(name), *rows]}
    columns = dict.fromkeys(column for row in by_key.values() for column in row)
    runs.write_table(RESULTS / f"{name}.csv", [dict.fromkeys(columns, "") | by_key[key] for key in sorted(by_key)])


def add_looks(folders: Iterable[Path]) -> None:
    """What was found on test in these run folders, and what their meters say; no other run of --out has a row."""
    for folder in folders:
        add_rows("study", [runs.read_json(folder / LOOK) | {"meters agree": agreement(folder)}])
        add_rows("study-drift", _drift(folder))


def _drift(folder: Path) -> list[Row]:
    """Of a run whose drift the study shows: contrastive by default or long, without and with memory, seed 0."""
    look = runs.read_json(folder / LOOK)
    if (look["loss"], look["seed"]) != ("contrastive", 0) or look["condition"] not in (DEFAULT, LONG):
        return []
    if look["arm"] not in (WITHOUT, WITH) or not (folder / runs.DRIFT).is_file():
        return []
    named = look["data"] if look["condition"] == DEFAULT else f"{look['data']}, {look['condition']}"
    return drift_rows(folder, {"data": named, "arm": look["arm"]})


def kept(name: str) -> list[dict[str, str]]:
    """The rows of a table of the results, as it is now."""
    path = RESULTS / f"{name}.csv"
    return runs.read_table(path) if path.is_file() else []


def is_told(cell: Cell, seeds: int) -> bool:
    """Whether the tables have all of a cell, of so many seeds."""
    told = {
        (row["arm"], row["than"])
        for row in kept("study-differences")
        if (row["part"], row["data"], row["loss"], row["condition"])
        == (cell.part, cell.data, cell.loss, cell.condition)
        and int(row["seeds"]) >= min(cell.seeds, seeds)
    }
    return told >= {(arm, cell.arms[0]) for arm in cell.arms[1:]}


def machine() -> str:
    """What a run was trained on, and by which instructions: its seconds depend on it, by rounding its numbers too."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    cpus = Path("/proc/cpuinfo")
    told = [line for line in cpus.read_text().splitlines() if line.startswith("model name")] if cpus.is_file() else []
    name = told[0].partition(":")[2].strip() if told else platform.machine()
    return f"{name}, {torch.backends.cpu.get_cpu_capability()}, cores: {len(os.sched_getaffinity(0))}"


def _name(*words: object) -> str:
    """Of a file or a folder."""
    return "-".join(str(word) for word in words).replace(" ", "_").replace("%", "percent")


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
