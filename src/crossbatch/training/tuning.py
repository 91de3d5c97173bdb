"""A search over recipes on validation classes, alike without and with memory: its checks, files and result."""

import math
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from crossbatch import runs
from crossbatch.errors import RunError, SettingError
from crossbatch.training.comparable import WITH, WITHOUT, refuse_late_memory, refuse_processes, with_options
from crossbatch.training.decide import decide
from crossbatch.training.halving import (
    RUNGS,
    SHARES,
    Budget,
    Search,
    Space,
    begun,
    best_of,
    loss_of,
    of_arm,
    rooms_of,
    shown,
    spent,
)
from crossbatch.training.lock import locked
from crossbatch.training.run_parts import build_parts, load_data
from crossbatch.training.settings import Settings

if TYPE_CHECKING:
    from optuna import Study
    from optuna.trial import FrozenTrial

# Values that are kept of a recipe's longest run.
KEPT = ("steps", "validation R@1", "validation MAP@R", "memory_steps", "warnings")


def tune(settings: Settings, out: Path, console: Console, space: Space, budget: Budget) -> dict[str, Any]:
    """Search within the budget, half of it for each arm, and keep the best recipe in `best.yaml`.

    A recipe is trained for a ninth of the steps. While it is in the best third of its arm so far, it is trained anew
    for a third, and then for all of the steps. Called again with its folder, a stopped search goes on, also with a
    larger budget.
    """
    settings = replace(settings, refit=False)
    check(settings, space, budget)
    search = Search(settings, load_data(settings), out, console, space, budget)
    for name in space.losses:  # refuses before anything is written
        for room in rooms_of(settings, space, name) or [None]:
            loss = loss_of(settings, name, room)
            build_parts(replace(settings, loss=loss, recommended=False), search.data)
    with locked(out):
        _open(search)
        arms = {name: search.study(name) for name in (WITHOUT, WITH)}
        while next_arms := [study for study in arms.values() if begun(study)] or search.paid(arms.values()):
            search.trial(min(next_arms, key=search.taken))
        return _conclude(search, arms)


def check(settings: Settings, space: Space, budget: Budget) -> None:
    """Refuse settings that cannot be searched, before anything is written."""
    if settings.split.validation_share == 0:
        raise SettingError("a search needs validation classes: raise --split.validation_share")
    if settings.memory.size == 0:
        raise SettingError("both arms are searched, without memory and with it: leave --memory.size out")
    refuse_processes(settings, "tune")
    refuse_late_memory(settings)
    low, high = space.learning_rates
    if not 0 < low <= high < math.inf:
        raise SettingError(f"--learning_rates are the lowest and the highest, as [0.0001,0.01]; got [{low:g},{high:g}]")
    whole = 2 * sum(max(1, settings.optim.steps // share) for share in SHARES)
    if budget.minutes is None and budget.steps < whole:
        raise SettingError(
            f"--budget {budget.steps:,} is too small: one recipe, trained to its end without and with memory, takes "
            f"{whole:,} steps: raise --budget, or lower --optim.steps"
        )


def _open(search: Search) -> None:
    """Make the folder, or check that it holds this very search."""
    space = {name: list(values) for name, values in asdict(search.space).items()}
    sought = {"space": space, "settings": search.settings.as_dict()}
    if (search.out / runs.SEARCH).is_file():
        if runs.read_json(search.out / runs.SEARCH) != sought:
            raise RunError(f"{search.out} holds another search, or of other options: name another --out")
        runs.require_data(search.out, search.data.outline)
        return
    runs.refuse_used(search.out)
    search.out.mkdir(parents=True, exist_ok=True)
    runs.write_json(search.out / runs.DATA, search.data.outline)
    runs.write_json(search.out / runs.SEARCH, sought)


def _conclude(search: Search, arms: Mapping[str, "Study"]) -> dict[str, Any]:
    """Write the winner and the best recipe of each arm; returns the results of all recipes."""
    best = {name: best_of(study) for name, study in arms.items()}
    if not all(best.values()):
        short = [name for name in arms if not best[name]]
        raise RunError(f"no recipe came to its end {' and '.join(short)}: raise the budget and start again, it goes on")
    own = {name: _own(search, name, trial) for name, trial in best.items() if trial}
    winner = max(own, key=lambda name: (best[name].value, name == WITHOUT))  # type: ignore[union-attr]
    chosen = with_options(search.settings, own[winner]).as_dict()
    runs.write_options(search.out / runs.BEST_RECIPE, chosen | {"arms": own})
    result = {
        "data": search.data.name,
        "fingerprint": search.data.fingerprint,
        "validation": {"images": len(search.data.validation), "classes": search.data.validation.classes},
        "arms": [{"name": name, **spent(study), "recipes": _recipes(study)} for name, study in arms.items()],
        "winner": {"arm": winner, **own[winner], "validation R@1": _rungs(best[winner])[-1]["validation R@1"]},
        "best": str(search.out / runs.BEST_RECIPE),
    }
    runs.write_json(search.out / runs.TUNING, result)
    return result


def _own(search: Search, arm: str, trial: "FrozenTrial") -> dict[str, Any]:
    """The best recipe and the memory of an arm, as options of a run."""
    augment = replace(search.settings.augment, policy=trial.params["augmentation"])
    decided, _ = decide(replace(search.settings, augment=augment), search.data)
    return {
        **search.recipe(trial),
        "augment": asdict(decided.augment),
        "memory": of_arm(search.settings, arm).as_dict()["memory"],
    }


def _rungs(trial: "FrozenTrial | None") -> list[dict[str, Any]]:
    """The results of the runs of a recipe."""
    results: list[dict[str, Any]] = [] if trial is None else trial.user_attrs.get(RUNGS, [])
    return results


def _recipes(study: "Study") -> list[dict[str, Any]]:
    """Every recipe of an arm with its longest run; sorted by steps, R@1 and MAP@R on validation, descending."""
    rows = [
        {**shown(trial), **{name: trial.user_attrs[RUNGS][-1].get(name) for name in KEPT}}
        for trial in study.get_trials(deepcopy=False)
        if trial.user_attrs.get(RUNGS)
    ]
    return sorted(rows, key=lambda row: (-row["steps"], -row["validation R@1"], -(row["validation MAP@R"] or 0)))
