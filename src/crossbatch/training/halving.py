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

try:
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend
    from optuna.trial import FrozenTrial, Trial, TrialState
except ModuleNotFoundError:
    raise MissingExtraError("a search over recipes", "optuna", "tune") from None

SHARES = (9, 3, 1)  # of what part of the steps a recipe is trained: the best third goes on to the next
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
        stopped, number = begun(study), len(study.get_trials(deepcopy=False))
        # A sampler of its own for each trial: a search that is stopped in between goes on with the same ones.
        study.sampler = optuna.samplers.TPESampler(seed=self.settings.seed + number)
        trial = Trial(study, stopped[0]._trial_id) if stopped else study.ask()
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


def begun(study: optuna.Study) -> list[FrozenTrial]:
    """The trial that was stopped, if any."""
    return study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))


def best_of(study: optuna.Study) -> FrozenTrial | None:
    """The whole run that validates best; the first of equals."""
    whole: Sequence[FrozenTrial] = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    return max(whole, key=lambda trial: (trial.value, -trial.number), default=None)
