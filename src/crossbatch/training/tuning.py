"""A search over recipes on validation classes, without and with memory alike: successive halving within a budget."""

import math
import shutil
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from crossbatch import runs
from crossbatch.data.augment import Policy
from crossbatch.data.data_set import DataSet
from crossbatch.errors import DivergedError, MissingExtraError, RunError, SettingError
from crossbatch.training.comparable import WITH, WITHOUT, refuse_late_memory, refuse_processes, with_options
from crossbatch.training.comparison import train_once
from crossbatch.training.decide import decide
from crossbatch.training.lock import locked
from crossbatch.training.run_parts import build_parts, load_data
from crossbatch.training.settings import LossSettings, Settings

try:
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend
    from optuna.trial import FrozenTrial, Trial, TrialState
except ModuleNotFoundError:
    raise MissingExtraError("a search over recipes", "optuna", "tune") from None

SHARES = (9, 3, 1)  # of what part of the steps a recipe is trained: the best third goes on to the next
KEPT = ("steps", "validation R@1", "memory_steps", "warnings")  # of the longest run of a recipe
LITTLE = 1e-6  # of R@1: less than one query of any validation part
RUNGS = "rungs"  # of a trial: what each of its runs came to


@dataclass(frozen=True)
class Space:
    """What is searched: a choice of losses and of augmentations, and learning rates from the lowest to the highest."""

    losses: tuple[str, ...]
    policies: tuple[Policy, ...]
    learning_rates: tuple[float, float]


@dataclass(frozen=True)
class Budget:
    """What all runs of the search may take together: steps, or else minutes of training."""

    steps: int
    minutes: float | None = None

    def pays(self, spent: Mapping[str, float], steps: int) -> bool:
        """Whether the half of an arm, of which so much is spent, pays for so many steps more."""
        if self.minutes is not None:
            return spent["seconds"] < self.minutes * 60 / 2
        return spent["steps"] + steps <= self.steps / 2


def tune(settings: Settings, out: Path, console: Console, space: Space, budget: Budget) -> dict[str, Any]:
    """Search within the budget, half of it for each arm, and keep the best recipe in `best.yaml`.

    A recipe is trained for a ninth of the steps, then, if it is in the best third of its arm so far, anew for a third
    of them and for all. A search that was stopped goes on when asked for again in its folder, with a larger budget too.
    """
    settings = replace(settings, refit=False)
    check(settings, space, budget)
    search = Search(settings, load_data(settings), out, console, space, budget)
    for name in space.losses:  # refuses before anything is written
        loss = settings.loss if name == settings.loss.name else LossSettings.named(name)
        build_parts(replace(settings, loss=loss), search.data)
    with locked(out):
        _open(search)
        arms = {name: search.study(name) for name in (WITHOUT, WITH)}
        while next_arms := [study for study in arms.values() if _begun(study)] or search.paid(arms.values()):
            search.trial(min(next_arms, key=search.taken))
        return _conclude(search, arms)


@dataclass(frozen=True)
class Search:
    """One search, in one folder: a study of Optuna for each arm, in a journal; a run folder for each whole run."""

    settings: Settings
    data: DataSet
    out: Path
    console: Console
    space: Space
    budget: Budget

    @property
    def steps(self) -> tuple[int, ...]:
        """Of each run of a recipe that comes to its end."""
        return tuple(max(1, self.settings.optim.steps // share) for share in SHARES)

    def study(self, arm: str) -> optuna.Study:
        """All that is known of an arm."""
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        storage = JournalStorage(JournalFileBackend(str(self.out / runs.JOURNAL)))
        halving = optuna.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=3)
        return optuna.create_study(
            storage=storage, study_name=arm, direction="maximize", load_if_exists=True, pruner=halving
        )

    def taken(self, study: optuna.Study) -> float:
        """What an arm has taken of what the budget counts, so that both are given alike."""
        so_far = spent(study)
        return so_far["seconds"] if self.budget.minutes is not None else so_far["steps"]

    def paid(self, studies: Iterable[optuna.Study]) -> list[optuna.Study]:
        """The arms whose half of the budget pays for another recipe."""
        return [study for study in studies if self.budget.pays(spent(study), self.steps[0])]

    def trial(self, study: optuna.Study) -> None:
        """One recipe, as far as it comes; the one that was stopped goes first."""
        begun, number = _begun(study), len(study.get_trials(deepcopy=False))
        # A sampler of its own for each trial: a search that is stopped in between goes on with the same ones.
        study.sampler = optuna.samplers.TPESampler(seed=self.settings.seed + number)
        trial = Trial(study, begun[0]._trial_id) if begun else study.ask()
        recipe = self.recipe(trial)
        for rung, steps in enumerate(self.steps):
            done = trial.user_attrs.get(RUNGS, [])
            if len(done) <= rung:
                if not self.budget.pays(spent(study), steps):
                    break
                one = self._run(study.study_name, trial, rung, recipe)
                trial.report(value_of(one), 3**rung)
                done = [*done, one | {"goes on": not trial.should_prune()}]
                trial.set_user_attr(RUNGS, done)
            if rung < len(SHARES) - 1:  # its line is in the journal
                shutil.rmtree(self._folder(study.study_name, trial, rung), ignore_errors=True)
            if not done[rung]["goes on"] and rung < len(SHARES) - 1:
                break
        whole = len(trial.user_attrs.get(RUNGS, [])) == len(SHARES)
        study.tell(trial, value_of(done[-1]) if whole else None, TrialState.COMPLETE if whole else TrialState.PRUNED)

    def _folder(self, arm: str, trial: Trial, rung: int) -> Path:
        return self.out / f"{arm.replace(' ', '-')}-{trial.number}-{self.steps[rung]}-steps"

    def recipe(self, trial: Trial | FrozenTrial) -> dict[str, Any]:
        """What a trial tries, as options: loss, augmentation, learning rate."""
        low, high = self.space.learning_rates
        name = trial.suggest_categorical("loss", self.space.losses)
        given = self.settings.loss.init_args if name == self.settings.loss.name else {}
        policy = trial.suggest_categorical("augmentation", self.space.policies)
        rate = rounded(trial.suggest_float("lr", low, high, log=True))
        loss = Settings(loss=LossSettings.named(name, **given), recommended=self.settings.recommended).resolved().loss
        return {"loss": asdict(loss), "augment": {"policy": policy}, "optim": {"lr": rate}}

    def _run(self, arm: str, trial: Trial, rung: int, recipe: dict[str, Any]) -> dict[str, Any]:
        """Train a recipe for the steps of a rung; what it came to."""
        steps, folder = self.steps[rung], self._folder(arm, trial, rung)
        told = f"{arm}, recipe {trial.number}, {steps:,} steps: {', '.join(map(str, shown(trial).values()))}"
        settings = shortened(with_options(of_arm(self.settings, arm), recipe), steps)
        began = time.perf_counter()
        try:
            train_once(settings, self.data, folder, self.console)
            summary = runs.read_summary(folder)
        except DivergedError:
            summary = {"best_validation_R@1": 0.0, "steps": steps, "training_seconds": time.perf_counter() - began}
            summary["warnings"] = ["training diverged: lower the highest of --learning_rates"]
        score = float(summary["best_validation_R@1"])
        self.console.print(f"{told}: validation R@1 {score:.4f}")
        return {
            "steps": summary["steps"],
            "seconds": summary["training_seconds"],
            "validation R@1": score,
            "validation MAP@R": float(summary.get("best_validation_MAP@R", 0.0)),
            "memory_steps": summary.get("memory_steps", 0),
            "warnings": summary.get("warnings", []),
        }


def of_arm(settings: Settings, arm: str) -> Settings:
    """Without memory, or as it was."""
    return settings if arm == WITH else replace(settings, memory=replace(settings.memory, size=0))


def shortened(settings: Settings, steps: int) -> Settings:
    """The same run in fewer steps: what happens at a step happens at the same share of them; drift is not measured."""
    optim, memory = settings.optim, settings.memory

    def at(step: float) -> int:
        return round(step * steps / float(optim.steps))

    start = None if memory.start is None else at(memory.start)
    milestones = sorted({max(1, at(one)) for one in optim.milestones})
    return replace(
        settings,
        optim=replace(optim, steps=steps, warmup=at(optim.warmup), milestones=milestones),
        memory=replace(memory, start=start),
        drift=replace(settings.drift, sample=0),
    )


def value_of(run: Mapping[str, Any]) -> float:
    """What recipes are ranked by: R@1 on validation, and of equals MAP@R, since few classes are soon all found."""
    return float(run["validation R@1"] + LITTLE * run.get("validation MAP@R", 0.0))


def rounded(rate: float) -> float:
    """A learning rate as it is trained with and told: two digits."""
    return float(f"{rate:.2g}")


def shown(trial: Trial | FrozenTrial) -> dict[str, Any]:
    """What a trial tries, for a person."""
    return {**trial.params, "lr": rounded(trial.params["lr"])}


def spent(study: optuna.Study) -> dict[str, float]:
    """What the runs of an arm have taken so far."""
    done = [run for trial in study.get_trials(deepcopy=False) for run in trial.user_attrs.get(RUNGS, [])]
    return {name: sum(run[name] for run in done) for name in ("steps", "seconds")}


def _begun(study: optuna.Study) -> list[FrozenTrial]:
    """The trial that was stopped, if any."""
    return study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))


def check(settings: Settings, space: Space, budget: Budget) -> None:
    """Refuse what cannot be searched, before anything is written."""
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
            f"--budget {budget.steps:,} pays for no recipe to its end in both arms, which takes {whole:,} steps: "
            "raise --budget, or lower --optim.steps"
        )


def _open(search: Search) -> None:
    """Make the folder, or go on in it if it holds this very search."""
    space = {name: list(values) for name, values in asdict(search.space).items()}
    sought = {"space": space, "settings": search.settings.as_dict()}
    if (search.out / runs.SEARCH).is_file():
        if runs.read_json(search.out / runs.SEARCH) != sought:
            raise RunError(f"{search.out} holds another search, or of other options: name another --out")
        runs.require_data(search.out, search.data.identity)
        return
    runs.refuse_used(search.out)
    search.out.mkdir(parents=True, exist_ok=True)
    runs.write_json(search.out / runs.DATA, search.data.identity)
    runs.write_json(search.out / runs.SEARCH, sought)


def _conclude(search: Search, arms: Mapping[str, optuna.Study]) -> dict[str, Any]:
    """Keep the winner, and what each arm is at its best; say what came of every recipe."""
    best = {name: _best(study) for name, study in arms.items()}
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


def _own(search: Search, arm: str, trial: FrozenTrial) -> dict[str, Any]:
    """The best recipe of an arm, and its memory, as options of a run."""
    augment = replace(search.settings.augment, policy=trial.params["augmentation"])
    decided, _ = decide(replace(search.settings, augment=augment), search.data)
    return {
        **search.recipe(trial),
        "augment": asdict(decided.augment),
        "memory": of_arm(search.settings, arm).as_dict()["memory"],
    }


def _best(study: optuna.Study) -> FrozenTrial | None:
    """The whole run that validates best; the first of equals."""
    whole: Sequence[FrozenTrial] = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    return max(whole, key=lambda trial: (trial.value, -trial.number), default=None)


def _rungs(trial: FrozenTrial | None) -> list[dict[str, Any]]:
    """What each run of a recipe came to."""
    found: list[dict[str, Any]] = [] if trial is None else trial.user_attrs.get(RUNGS, [])
    return found


def _recipes(study: optuna.Study) -> list[dict[str, Any]]:
    """Every recipe of an arm with its longest run, those that came furthest first, then by what they validate at."""
    rows = [
        {**shown(trial), **{name: trial.user_attrs[RUNGS][-1].get(name) for name in KEPT}}
        for trial in study.get_trials(deepcopy=False)
        if trial.user_attrs.get(RUNGS)
    ]
    return sorted(rows, key=lambda row: (-row["steps"], -row["validation R@1"]))
