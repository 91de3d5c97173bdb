"""Successive halving over recipes: one study for each arm, each recipe trained for longer while it does well."""

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
from crossbatch.errors import DivergedError, MissingExtraError
from crossbatch.training.comparable import WITH, with_options
from crossbatch.training.comparison import train_once
from crossbatch.training.settings import LossSettings, Settings
from crossbatch.training.short_run import shortened

try:
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend
    from optuna.trial import FrozenTrial, Trial, TrialState
except ModuleNotFoundError:
    raise MissingExtraError("a search over recipes", "optuna", "tune") from None

SHARES = (9, 3, 1)  # a recipe is trained for a ninth, a third and all of the steps; the best third goes on each time
LITTLE = 1e-6  # weight of MAP@R beside R@1: less than one query of any validation part
RUNGS = "rungs"  # attribute of a trial that holds the result of each of its runs


@dataclass(frozen=True)
class Space:
    """The space of a search: losses, augmentations, the lowest and highest learning rate, and values of `room`.

    `room` is searched for the losses that have a recommended one.
    """

    losses: tuple[str, ...]
    policies: tuple[Policy, ...]
    learning_rates: tuple[float, float]
    rooms: tuple[float, ...]


@dataclass(frozen=True)
class Budget:
    """The budget of all runs of a search together: minutes of training where they are given, else steps."""

    steps: int
    minutes: float | None = None

    def pays(self, spent: Mapping[str, float], steps: int) -> bool:
        """Whether an arm's half of the budget, of which `spent` is used, pays for this many further steps."""
        if self.minutes is not None:
            return spent["seconds"] < self.minutes * 60 / 2
        return spent["steps"] + steps <= self.steps / 2


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
        """Steps of each run of a recipe, from the shortest run to the whole one."""
        return tuple(max(1, self.settings.optim.steps // share) for share in SHARES)

    def study(self, arm: str) -> optuna.Study:
        """The Optuna study of an arm, with all its trials so far."""
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        storage = JournalStorage(JournalFileBackend(str(self.out / runs.JOURNAL)))
        halving = optuna.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=3)
        return optuna.create_study(
            storage=storage, study_name=arm, direction="maximize", load_if_exists=True, pruner=halving
        )

    def taken(self, study: optuna.Study) -> float:
        """Seconds or steps, as the budget counts, that an arm has used; the arm with less comes next."""
        so_far = spent(study)
        return so_far["seconds"] if self.budget.minutes is not None else so_far["steps"]

    def paid(self, studies: Iterable[optuna.Study]) -> list[optuna.Study]:
        """The arms whose half of the budget pays for another recipe."""
        return [study for study in studies if self.budget.pays(spent(study), self.steps[0])]

    def trial(self, study: optuna.Study) -> None:
        """Train one recipe until it ranks too low or the budget is spent; a recipe that was stopped comes first."""
        stopped, number = begun(study), len(study.get_trials(deepcopy=False))
        # Each trial has its own sampler, so that a search that was stopped goes on with the same recipes.
        study.sampler = optuna.samplers.TPESampler(seed=self.settings.seed + number)
        trial = Trial(study, stopped[0]._trial_id) if stopped else study.ask()
        recipe = self.recipe(trial)
        for rung, steps in enumerate(self.steps):
            done = trial.user_attrs.get(RUNGS, [])
            if len(done) <= rung:
                if not self.budget.pays(spent(study), steps):
                    break
                result = self._run(study.study_name, trial, rung, recipe)
                trial.report(value_of(result), 3**rung)
                done = [*done, result | {"goes on": not trial.should_prune()}]
                trial.set_user_attr(RUNGS, done)
            if rung < len(SHARES) - 1:  # the journal holds its result
                shutil.rmtree(self._folder(study.study_name, trial, rung), ignore_errors=True)
            if not done[rung]["goes on"] and rung < len(SHARES) - 1:
                break
        whole = len(trial.user_attrs.get(RUNGS, [])) == len(SHARES)
        study.tell(trial, value_of(done[-1]) if whole else None, TrialState.COMPLETE if whole else TrialState.PRUNED)

    def _folder(self, arm: str, trial: Trial, rung: int) -> Path:
        return self.out / f"{arm.replace(' ', '-')}-{trial.number}-{self.steps[rung]}-steps"

    def recipe(self, trial: Trial | FrozenTrial) -> dict[str, Any]:
        """The recipe of a trial as options: loss with its room, augmentation, learning rate."""
        low, high = self.space.learning_rates
        name = trial.suggest_categorical("loss", self.space.losses)
        rooms = rooms_of(self.settings, self.space, name)
        room = trial.suggest_categorical("room", rooms) if rooms else None
        policy = trial.suggest_categorical("augmentation", self.space.policies)
        rate = rounded(trial.suggest_float("lr", low, high, log=True))
        return {
            "loss": asdict(loss_of(self.settings, name, room)),
            "augment": {"policy": policy},
            "optim": {"lr": rate},
        }

    def _run(self, arm: str, trial: Trial, rung: int, recipe: dict[str, Any]) -> dict[str, Any]:
        """Train a recipe for the steps of a rung; returns the result."""
        steps, folder = self.steps[rung], self._folder(arm, trial, rung)
        named = ", ".join(f"room {value}" if name == "room" else str(value) for name, value in shown(trial).items())
        title = f"{arm}, recipe {trial.number}, {steps:,} steps: {named}"
        settings = shortened(with_options(of_arm(self.settings, arm), recipe), steps)
        began = time.perf_counter()
        try:
            train_once(settings, self.data, folder, self.console)
            summary = runs.read_summary(folder)
        except DivergedError:
            summary = {"best_validation_R@1": 0.0, "steps": steps, "training_seconds": time.perf_counter() - began}
            summary["warnings"] = ["training diverged: lower the highest of --learning_rates"]
        score = float(summary["best_validation_R@1"])
        self.console.print(f"{title}: validation R@1 {score:.4f}")
        return {
            "steps": summary["steps"],
            "seconds": summary["training_seconds"],
            "validation R@1": score,
            "validation MAP@R": float(summary.get("best_validation_MAP@R", 0.0)),
            "memory_steps": summary.get("memory_steps", 0),
            "warnings": summary.get("warnings", []),
        }


def rooms_of(settings: Settings, space: Space, name: str) -> tuple[float, ...]:
    """The values of `room` that are searched for a loss; none without a recommended value, or if one is given."""
    return space.rooms if settings.leaves_room_open(name) else ()


def loss_of(settings: Settings, name: str, room: float | None) -> LossSettings:
    """A loss with the options that are given for it, and else with the recommended ones."""
    named = LossSettings.named(name, **settings.given_to(name), **({} if room is None else {"room": room}))
    return Settings(loss=named, recommended=settings.recommended).resolved().loss


def of_arm(settings: Settings, arm: str) -> Settings:
    """The settings of an arm: unchanged for the arm with memory, else with a memory of size 0."""
    return settings if arm == WITH else replace(settings, memory=replace(settings.memory, size=0))


def value_of(run: Mapping[str, Any]) -> float:
    """Rank of a run: R@1 on validation; MAP@R decides between equals, since few classes soon reach R@1 of 1."""
    return float(run["validation R@1"] + LITTLE * run.get("validation MAP@R", 0.0))


def rounded(rate: float) -> float:
    """A learning rate with two digits, as it is trained with and printed."""
    return float(f"{rate:.2g}")


def shown(trial: Trial | FrozenTrial) -> dict[str, Any]:
    """The recipe of a trial, as it is printed."""
    return {**trial.params, "lr": rounded(trial.params["lr"])}


def spent(study: optuna.Study) -> dict[str, float]:
    """Steps and seconds that the runs of an arm have used so far."""
    done = [run for trial in study.get_trials(deepcopy=False) for run in trial.user_attrs.get(RUNGS, [])]
    return {name: sum(run[name] for run in done) for name in ("steps", "seconds")}


def begun(study: optuna.Study) -> list[FrozenTrial]:
    """The trial of an arm that was stopped, if any."""
    return study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))


def best_of(study: optuna.Study) -> FrozenTrial | None:
    """The trial whose whole run validates best, the first of equals; None where no run came to its end."""
    whole: Sequence[FrozenTrial] = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    return max(whole, key=lambda trial: (trial.value, -trial.number), default=None)
