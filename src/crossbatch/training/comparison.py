"""The same configuration without and with memory: each arm tuned alike, then trained over seeds, then tested once."""

import shutil
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from crossbatch import runs
from crossbatch.data.data_set import DataSet
from crossbatch.errors import DivergedError, SettingError
from crossbatch.models import checkpoint
from crossbatch.training import rate_search
from crossbatch.training.arm_results import error_ratios, tested_arm, warnings_of
from crossbatch.training.comparable import (
    WITH,
    WITHOUT,
    check,
    check_rates,
    kept_options,
    own_of_arms,
    refuse_beside,
    with_options,
)
from crossbatch.training.decide import decide
from crossbatch.training.lock import locked
from crossbatch.training.plan import plan_of, print_plan
from crossbatch.training.race import NO_RACE, Race, race_of
from crossbatch.training.run_parts import build_parts, load_data
from crossbatch.training.settings import Settings
from crossbatch.training.step_cost import StepCost, measure
from crossbatch.training.train import fit

LONGER = "without memory, equal time"


class Comparison:
    """Runs of one comparison, in one folder; each run folder is trained at most once."""

    def __init__(self, settings: Settings, own: dict[str, Any], out: Path, console: Console) -> None:
        self.out, self.console = out, console
        self.numbers: dict[Path, int] = {}  # of each run folder, in the order of training
        self.expected = 0
        self.data: DataSet = load_data(replace(settings, refit=False))
        self.decide(settings)
        self.own = {name: with_options(self.settings, options) for name, options in own.items()}

    def decide(self, settings: Settings, raced: Race = NO_RACE) -> None:
        """Decide what the user left open, once for every run."""
        self.settings, reasons = decide(settings, self.data)
        self.reasons = raced.reasons(reasons)

    def arm(self, name: str, **changes: Any) -> Settings:
        """The settings of one run of an arm."""
        settings = self.own.get(WITHOUT if name == LONGER else name, self.settings)
        settings = replace(settings, seed=changes.pop("seed", settings.seed))
        memory = settings.memory if name == WITH else replace(settings.memory, size=0)
        return replace(settings, memory=memory, optim=replace(settings.optim, **changes))

    def expect(self, searched: int, seeds: int, *, equal_time: bool) -> None:
        """Set the number of runs: the search has trained one run of each arm already, unless a refit trains it anew."""
        shared = 2 if searched and not self.settings.refit else 0
        self.expected = searched - shared + (2 + equal_time) * seeds

    def run(self, name: str, settings: Settings) -> Path:
        """Train one run, unless it is finished; resume a run that was stopped."""
        refit = "-refit" if settings.refit else ""
        folder = self.out / f"{_title(name)}-lr{settings.optim.lr:g}-seed{settings.seed}{refit}"
        number = self.numbers.setdefault(folder, len(self.numbers) + 1)
        if not runs.is_finished(folder):
            title = f"{name}, learning rate {settings.optim.lr:g}, seed {settings.seed}"
            total = f" of {self.expected}" if number <= self.expected else ""  # a search may go beyond its rates
            self.console.print(f"run {number}{total}: {title}")
            train_once(settings, load_data(settings) if settings.refit else self.data, folder, self.console)
        return folder


def _title(name: str) -> str:
    """The beginning of the folder names of an arm."""
    return "-".join(name.replace(",", "").split())


def train_once(settings: Settings, loaded: DataSet, folder: Path, console: Console) -> None:
    """Train a run, unless it is finished; resume a run that was stopped.

    Raises KeyboardInterrupt after SIGINT and `Terminated` after SIGTERM, even where the run came to its end. Raises
    `DivergedError` anew for a run that has diverged.
    """
    if runs.is_finished(folder):
        return
    if (folder / runs.DIVERGED).is_file():
        raise DivergedError(runs.read_json(folder / runs.DIVERGED)["told"])
    resume = runs.is_begun(folder)
    if folder.exists() and not resume:
        shutil.rmtree(folder)  # stopped before it had begun: there is nothing to resume
    fit(build_parts(settings, loaded), folder, console, resume=resume).stop_if_asked()


def compare(
    settings: Settings,
    out: Path,
    console: Console,
    *,
    seeds: int = 3,
    learning_rates: Sequence[float] = (),
    equal_time: bool = True,
    ks: Sequence[int] = (),
    own: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Search learning rates on validation with the first seed, alike for both arms; train; evaluate on test once.

    Where an arm's best rate is at an end of the rates, the next rate beyond it is tried too, in both arms.
    The third arm, equal time, trains without memory for more steps: those that fit into the time the memory costs.
    `own`: options of each arm by its name, as `tuning` writes them; then each arm uses its own, and nothing is
    searched. The result is written to `comparison.json`. Called again with its folder, a stopped comparison goes on,
    and a finished one trains the runs that further seeds and rates need.
    """
    unresolved, settings = settings, settings.resolved()
    own = own_of_arms(settings, own or {})
    refuse_beside(own, unresolved, learning_rates)
    check(with_options(settings, own.get(WITH, {})), seeds, ks)
    check_rates(settings, learning_rates)
    rates = tuple(dict.fromkeys(learning_rates)) or (settings.optim.lr,)
    runs_here = Comparison(settings, own, out, console)
    if not runs_here.data.tests or not len(runs_here.data.query):
        raise SettingError("there are no test classes to compare on: raise --split.test_share")
    ks = sorted({1, *(ks or runs_here.data.ks)})
    parts = build_parts(runs_here.arm(WITH), runs_here.data)  # refuses before anything is written
    unraced = kept_options(settings, own)
    begun = runs.is_comparison(out, unraced)
    used_rate = settings.optim.lr if settings.optim.lr in rates else rates[0]
    at_rate = replace(unresolved, optim=replace(unresolved.optim, lr=used_rate))
    raced = NO_RACE if own else race_of(out, at_rate, runs_here.data, console, begun=begun)
    if raced.results:
        settings = raced.applied(unresolved).resolved()
        runs_here.decide(settings, raced)
        parts = build_parts(runs_here.arm(WITH), runs_here.data)
    training = _training_of(settings, rates, seeds, own=bool(own))
    lines = plan_of(replace(parts, reasons=runs_here.reasons))
    print_plan(console, (training if line.startswith("training") else line for line in lines))
    if begun:
        runs.require_data(out, runs_here.data.outline)
    else:
        kept = kept_options(settings, own)
        runs.refuse_used(out)
        runs.create(out, kept, runs_here.data.outline, runs_here.reasons, asdict(raced) | {"unraced": unraced})
    with locked(out):
        result = _result(runs_here, settings, seeds, rates, ks, equal_time=equal_time)
        runs.write_json(out / runs.COMPARISON, result)
    return result


def _training_of(settings: Settings, rates: Sequence[float], seeds: int, *, own: bool) -> str:
    """The line of the plan on the training of all runs."""
    over = "1 seed" if seeds == 1 else f"{seeds} seeds"
    tuned = "learning rates of --arms" if own else f"learning rate {rates[0]:g}"
    if len(rates) > 1:
        tuned, over = f"learning rates {', '.join(f'{rate:g}' for rate in rates)}", f"{over} of the best"
    return f"training  {settings.optim.steps:,} steps without and with memory; {tuned}; {over}"


def _result(
    runs_here: Comparison,
    settings: Settings,
    seeds: int,
    rates: Sequence[float],
    ks: Sequence[int],
    *,
    equal_time: bool,
) -> dict[str, Any]:
    """Train and test the runs that are not yet trained and tested; returns the result of the comparison."""
    runs_here.expect(2 * len(rates) if len(rates) > 1 else 0, seeds, equal_time=equal_time)
    score = partial(_validation, runs_here)
    search = rate_search.search(score, (WITHOUT, WITH), rates) if len(rates) > 1 else []
    runs_here.expect(len(search), seeds, equal_time=equal_time)  # the search may have gone beyond an end
    fixed = {name: runs_here.arm(name).optim.lr if runs_here.own else rates[0] for name in (WITHOUT, WITH)}
    chosen = {name: rate_search.best(search, name) or lr for name, lr in fixed.items()}
    folders = {
        name: [runs_here.run(name, runs_here.arm(name, lr=chosen[name], seed=settings.seed + i)) for i in range(seeds)]
        for name in (WITHOUT, WITH)
    }
    cost = _cost(runs_here, folders[WITH][0])
    steps = {WITHOUT: settings.optim.steps, WITH: settings.optim.steps}
    if equal_time:
        steps[LONGER] = _longer(runs_here.out, cost, settings.optim.steps, folders[WITH])
        folders[LONGER] = [
            runs_here.run(
                LONGER, runs_here.arm(LONGER, lr=chosen[WITHOUT], steps=steps[LONGER], seed=settings.seed + i)
            )
            for i in range(seeds)
        ]
    chosen[LONGER] = chosen[WITHOUT]
    arms: list[dict[str, Any]] = []
    before: Sequence[dict[str, float] | None] = [None] * seeds  # arms of a seed start from the same weights
    for name in (name for name in (WITHOUT, LONGER, WITH) if name in folders):
        arm, before = tested_arm(name, folders[name], steps[name], chosen[name], runs_here.data, ks, before)
        arms.append(arm)
    return {
        "data": runs_here.data.name,
        "fingerprint": runs_here.data.fingerprint,
        "loss": " / ".join(dict.fromkeys(runs_here.arm(name).loss.name for name in (WITHOUT, WITH))),
        "seeds": seeds,
        "test": {
            "part": next(iter(runs_here.data.tests)),
            "queries": len(runs_here.data.query),
            "classes": runs_here.data.query.classes,
        },
        "search": search,
        "arms": arms,
        "before_training": {metric: [start[metric] for start in before if start] for metric in arms[0]["test"]},
        "warnings": {
            folder.name: warned for of_arm in folders.values() for folder in of_arm if (warned := warnings_of(folder))
        },
        "step_cost": {"without": cost.without, "with": cost.with_memory, "ratio": cost.ratio, "fill": cost.fill},
        "error_ratio": error_ratios(arms),
    }


def _validation(comparison: Comparison, name: str, rate: float) -> rate_search.Score:
    """Best R@1 on validation of one run of the search, which never refits, and its MAP@R; 0 if it diverged."""
    settings = replace(comparison.arm(name, lr=rate), refit=False)
    try:
        summary = runs.read_summary(comparison.run(name, settings))
    except DivergedError as error:
        comparison.console.print(f"learning rate {rate:g}: {error}")
        return 0.0, 0.0
    return summary["best_validation_R@1"], summary.get("best_validation_MAP@R", 0.0)


def _cost(comparison: Comparison, trained: Path) -> StepCost:
    """The step cost with a trained network; measured once, since the steps of the equal-time arm depend on it."""
    kept = comparison.out / "step_cost.json"
    if kept.is_file():
        return StepCost(**runs.read_json(kept))
    parts = {name: build_parts(comparison.arm(name), comparison.data) for name in (WITHOUT, WITH)}
    weights = checkpoint.load(trained)[0].state_dict()
    for arm in parts.values():
        arm.learner.embedder.load_state_dict(weights)
    start = runs.read_summary(trained)["memory_start"]
    cost = measure(parts[WITHOUT], parts[WITH], start=start or 0)
    runs.write_json(kept, asdict(cost))
    return cost


def _longer(out: Path, cost: StepCost, steps: int, folders: Sequence[Path]) -> int:
    """Steps of the equal-time arm: without memory they take as long as the runs with memory in `folders`.

    If a run of the arm exists, its steps are used: the mean over more seeds would make a different arm.
    """
    existing = [folder for folder in sorted(out.glob(f"{_title(LONGER)}-lr*")) if (folder / runs.CONFIG).is_file()]
    if existing:
        return int(runs.read_config(existing[0])["optim"]["steps"])
    return steps + cost.steps_worth(
        round(statistics.mean(runs.read_summary(folder)["memory_steps"] for folder in folders))
    )
