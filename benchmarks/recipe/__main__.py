r"""Compare recipes, the memory and another library in named cells, with one table row for each run.

    python -m benchmarks.recipe plan --cells losses-glyphs length-hanzi-10
    python -m benchmarks.recipe run --cells losses-glyphs length-hanzi-10 --fonts /usr/share/fonts
    python -m benchmarks.recipe differences
    python -m benchmarks.recipe rule

Each row of `results/recipe.csv` is a finished run: its settings, R@1 on validation, and measurements from early in the
run. Runs that a cell compares also have R@1 on test, which is searched once. Learning rates are chosen on validation
with seed 0, in the same way for every arm. `results/recipe-differences.csv` has the difference in R@1 of each arm from
the first arm of its cell, paired over seeds and queries. Runs that have a row are not repeated. An interrupted run
resumes, but a run with the other library starts again, because its checkpoints lack the position in the memory.
`--steps` shortens all runs for a trial; give a `--table` of its own then.
`differences` prints the differences between memory and no memory, with p values corrected for their number (Holm), and
their mean. `rule` prints how often an early measurement has the same sign as the gain of the memory on test.
"""

import argparse
import json
import shutil
from collections import defaultdict
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console

from benchmarks.recipe.cells import CELLS, OF_MEMORY, WITH, Cell
from benchmarks.recipe.holm import tell_differences
from benchmarks.recipe.peer import OfMemory, Peer, agreement
from benchmarks.recipe.rule import tell_rules
from benchmarks.recipe.sets import SETS, add_places, settings_of
from benchmarks.study.__main__ import drawn_means, machine
from crossbatch import runs
from crossbatch.data.data_set import DataSet
from crossbatch.errors import DivergedError
from crossbatch.losses import MultiSimilarityLoss
from crossbatch.training.part_search import search_run
from crossbatch.training.run_parts import build_parts, load_data
from crossbatch.training.settings import Settings
from crossbatch.training.train import fit

TABLE = Path(__file__).parents[1] / "results" / "recipe.csv"
RIGHT, AGREED = "right.npy", "agreement.jsonl"
KEYS = ("data", "loss", "recipe", "arm", "steps", "lr", "seed")
EARLY = (0.1, 0.25, 0.5)  # shares of the steps
Row = dict[str, Any]
CONSOLE = Console(width=120, stderr=True)


def main() -> None:
    """Print the plan, run what is missing, or print what the rows say."""
    options = _options()
    if options.do == "rule":
        tell_rules(_kept(options.table))
    elif options.do == "differences":
        tell_differences(_kept(_differences_of(options.table)))
    elif options.do == "plan":
        _plan(_cells(options), _kept(options.table))
    else:
        _run(_cells(options), options)


def _cells(options: argparse.Namespace) -> list[Cell]:
    cells = [cell for name in options.cells for cell in CELLS[name]]
    if options.steps:
        cells = [replace(cell, steps=options.steps, searched=options.steps) for cell in cells]
    if options.arms:
        cells = [replace(cell, arms=tuple(arm for arm in cell.arms if arm in options.arms)) for cell in cells]
    if options.rates:
        cells = [replace(cell, rates=tuple(options.rates)) for cell in cells]
    if options.seeds:
        cells = [replace(cell, seeds=min(cell.seeds, options.seeds)) for cell in cells]
    return cells


def _run(cells: list[Cell], options: argparse.Namespace) -> None:
    options.out.mkdir(parents=True, exist_ok=True)
    plain = {name: settings_of(name, options) for name in dict.fromkeys(cell.data for cell in cells)}
    loaded: dict[str, DataSet] = {}
    for cell in cells:
        if cell.data not in loaded:
            loaded = {cell.data: load_data(plain[cell.data])}
        Running(cell, plain[cell.data], loaded[cell.data], options.out, options.table).all()


@dataclass(frozen=True)
class Running:
    """The runs of a cell, each in its own folder, and their rows."""

    cell: Cell
    plain: Settings
    data: DataSet
    out: Path
    table: Path

    def all(self) -> None:
        """Choose a rate for each arm, run all seeds at it, search test, and write the differences."""
        cell, chosen = self.cell, {}
        for arm in cell.arms:
            chosen[arm] = cell.rates[0]
            if len(cell.rates) > 1:
                tried = [(self.row(arm, 0, lr, cell.searched), lr) for lr in cell.rates]
                chosen[arm] = max(tried, key=lambda one: (float(one[0]["validation"]), -one[1]))[1]
        lengths = dict.fromkeys(cell.arms, cell.steps)
        self._compare(chosen, lengths)
        if cell.timed:
            timed = cell.arms[-1]
            seconds = {
                arm: np.mean([self._seconds(arm, seed, chosen[arm]) for seed in range(cell.seeds)]) for arm in chosen
            }
            lengths = {arm: round(cell.steps * seconds[timed] / seconds[arm]) for arm in cell.arms}
            self._compare(chosen, lengths)

    def _seconds(self, arm: str, seed: int, lr: float) -> float:
        return float(self.row(arm, seed, lr, self.cell.steps)["seconds"])

    def _compare(self, chosen: dict[str, float], lengths: dict[str, int]) -> None:
        rights = {}
        for arm in self.cell.arms:
            seeds = [
                self.row(arm, seed, chosen[arm], lengths[arm], tested=self.cell.tested)
                for seed in range(self.cell.seeds)
            ]
            print(
                *(f"{row['arm']} {row['steps']} steps {row['lr']} {row['validation']} {row['test']}" for row in seeds),
                sep="\n",
            )
            if self.cell.tested:
                rights[arm] = np.stack([np.load(self._folder(row) / RIGHT) for row in seeds])
        if len(rights) > 1:
            self._differences(rights, chosen, lengths)

    def row(self, arm: str, seed: int, lr: float, steps: int, *, tested: bool = False) -> Row:
        """The row of a run. The run is trained if it has no row, and searched on test if `tested`."""
        cell = self.cell
        values = (cell.data, cell.loss, cell.recipe, arm, steps, f"{lr:g}", seed)
        row: Row = dict(zip(KEYS, map(str, values), strict=True))
        known = next((one for one in _kept(self.table) if all(one[key] == row[key] for key in KEYS)), None)
        folder = self._folder(row)
        if known and (not tested or (known["test"] and (folder / RIGHT).is_file())):
            return known
        found = self._train(row, cell.settings(self.plain, arm, seed, lr, steps), folder)
        if tested:
            found |= self._look(folder)
        _keep(self.table, row | found)
        return row | found

    def _folder(self, row: Row) -> Path:
        return self.out / "-".join(row[key] for key in KEYS).replace(" ", "_").replace("%", "percent").replace(
            "÷", "by"
        )

    def _train(self, row: Row, settings: Settings, folder: Path) -> Row:
        resume = runs.has_checkpoint(folder) and not row["arm"].startswith("peer")
        if not runs.is_finished(folder):
            if folder.exists() and not resume:
                shutil.rmtree(folder)
            parts = build_parts(settings, self.data)
            loss_fn: Any = parts.learner.loss_fn
            if row["arm"].startswith("peer"):
                parts.learner.loss_fn = Peer(row["arm"], settings.model.dim, len(self.data.train))
            elif row["arm"] == WITH:
                if row["recipe"] in OF_MEMORY:
                    loss_fn.loss = OfMemory(loss_fn.loss, MultiSimilarityLoss(**OF_MEMORY[row["recipe"]]))
                every = max(1, settings.optim.steps // 20)
                loss_fn.register_forward_pre_hook(partial(_watch, folder, every), with_kwargs=True)
            try:
                if fit(parts, folder, CONSOLE, resume=resume).interrupted:
                    raise KeyboardInterrupt
            except DivergedError:
                return {"validation": "0", "test": "", "seconds": "", "early": "", "machine": machine()}
        summary = runs.read_summary(folder)
        return {
            "validation": f"{summary['best_validation_R@1']:.4f}",
            "test": "",
            "MAP@R": "",
            "seconds": summary["training_seconds"],
            "memory start": summary["memory_start"],
            "early": json.dumps(_early(folder, settings.optim.steps, summary)),
            "cut": json.dumps((summary["after_training"] or {}).get("validation R@1 by dims")),
            "fingerprint": self.data.fingerprint,
            "machine": machine(),
        }

    def _look(self, folder: Path) -> Row:
        if not (folder / runs.SUMMARY).is_file():  # diverged
            np.save(folder / RIGHT, np.zeros(len(self.data.query), bool))
            return {"test": "0", "MAP@R": "0"}
        found = search_run(folder, self.data, next(iter(self.data.tests))).measured
        np.save(folder / RIGHT, (found.best_rank == 1).numpy())
        return {"test": f"{found.recall[1]:.4f}", "MAP@R": f"{found.map_at_r:.4f}"}

    def _differences(self, rights: dict[str, Any], chosen: dict[str, float], lengths: dict[str, int]) -> None:
        path = _differences_of(self.table)
        (first, baseline), *others = rights.items()
        for arm, right in others:
            means = drawn_means(right.astype(np.int8) - baseline, self.data.query.labels.numpy())
            low, high = np.quantile(means, [0.025, 0.975])
            errors = 1 - right.mean(), 1 - baseline.mean()
            less = right.mean(1) - baseline.mean(1)
            row = {
                **{key: getattr(self.cell, key) for key in ("data", "loss", "recipe")},
                "arm": arm,
                "than": first,
                "steps": lengths[arm],
                "steps of that": lengths[first],
                "lr": f"{chosen[arm]:g}",
                "lr of that": f"{chosen[first]:g}",
                "seeds": len(right),
                "R@1": f"{right.mean():.4f}",
                "difference": f"{less.mean():.4f}",
                "low": f"{low:.4f}",
                "high": f"{high:.4f}",
                "p": f"{_p_value(means):.4f}",
                "error ratio": f"{errors[0] / errors[1]:.3f}" if errors[1] else "",
                "seed by seed": " ".join(f"{one:+.4f}" for one in less),
            }
            keys = ("data", "loss", "recipe", "arm", "than", "steps", "steps of that", "lr", "lr of that")
            kept = [one for one in _kept(path) if any(one[key] != str(row[key]) for key in keys)]
            runs.write_table(path, [*kept, row])


def _p_value(means: NDArray[np.float64]) -> float:
    """Two-sided bootstrap p value. The sample itself counts as one more draw, so no p value is 0."""
    beyond = min((means <= 0).sum(), (means >= 0).sum())
    return float(min(1, 2 * (beyond + 1) / (len(means) + 1)))


def _watch(folder: Path, every: int, loss_fn: Any, given: tuple[Any, ...], named: dict[str, Any]) -> None:
    """Before every `every`-th step, write the cosine between the gradients of the batch term and the memory term."""
    step = int(loss_fn.step)
    if loss_fn.training and step % every == every - 1 and torch.is_grad_enabled():
        embeddings, labels = given
        agreed = agreement(loss_fn, embeddings, labels, named.get("ids"))
        with (folder / AGREED).open("a") as file:
            file.write(json.dumps({"step": step, "agreement": round(agreed, 4)}) + "\n")


def _early(folder: Path, steps: int, summary: Row) -> Row:
    """Measurements at a tenth, a quarter and a half of the steps, and before training."""
    metrics, found = runs.read_metrics(folder), dict[str, Any]()
    if (folder / AGREED).is_file():
        lines = [json.loads(line) for line in (folder / AGREED).read_text().splitlines()]
        metrics["agreement"] = sorted({line["step"]: line["agreement"] for line in lines}.items())
    for name in (
        "val/R@1",
        "val/MAP@R",
        "batch_negatives",
        "memory_negatives",
        "batch_loss",
        "memory_loss",
        "agreement",
    ):
        for share in EARLY:
            before = [value for step, value in metrics.get(name, []) if step <= share * steps]
            if before:
                found[f"{name} at {share:g}"] = round(before[-1], 4)
    floor = summary["before_training"] or {}
    return found | {f"{name} before": round(value, 4) for name, value in floor.items() if isinstance(value, float)}


def _plan(cells: list[Cell], kept: list[dict[str, str]]) -> None:
    """Print runs and time of each cell. Times come from known rows of its data set, or else from an estimate."""
    times = defaultdict(list)
    for row in kept:
        if row["seconds"]:
            times[row["data"], row["arm"]].append(float(row["seconds"]) / int(row["steps"]))
    total = 0.0
    for cell in cells:
        seconds = sum(
            count * steps * float(np.median(times.get((cell.data, arm), [SETS[cell.data].seconds])))
            for arm, count, steps in cell.runs
        )
        total += seconds
        arms = ", ".join(cell.arms)
        count = sum(count for _, count, _ in cell.runs)
        what = f"{cell.data}, {cell.loss}, {cell.recipe}, {cell.steps:,} steps"
        print(f"{seconds / 3600:6.2f} h  {count:3} runs  {what}: {arms}")
    print(f"{total / 3600:6.2f} h on one core, where no row is there yet")


def _differences_of(table: Path) -> Path:
    return table.with_name(f"{table.stem}-differences.csv")


def _kept(table: Path) -> list[dict[str, str]]:
    return runs.read_table(table) if table.is_file() else []


def _keep(table: Path, row: Row) -> None:
    """Write the row to the table, in place of a row with the same key."""
    others = [one for one in _kept(table) if any(one[key] != row[key] for key in KEYS)]
    columns = dict.fromkeys(column for one in [*others, row] for column in one)
    runs.write_table(table, [dict.fromkeys(columns, "") | one for one in [*others, row]])


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("do", choices=("plan", "run", "differences", "rule"))
    parser.add_argument("--cells", nargs="+", choices=CELLS, default=[], metavar="NAME", help=", ".join(CELLS))
    parser.add_argument("--steps", type=int, help="of every run, to see a cell work")
    parser.add_argument("--rates", nargs="+", type=float, help="to search in place of those of a cell; one is taken")
    parser.add_argument("--seeds", type=int, help="at most so many")
    parser.add_argument("--arms", nargs="+", help="these alone, as on another machine; differences need all of a cell")
    parser.add_argument("--table", type=Path, default=TABLE)
    parser.add_argument("--out", type=Path, default=Path("runs", "recipe"))
    add_places(parser)
    return parser.parse_args()


if __name__ == "__main__":
    main()
