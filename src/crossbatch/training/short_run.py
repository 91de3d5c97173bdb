"""A short run: a run in few steps, which chooses between settings by R@1 on validation."""

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console

from crossbatch.data.data_set import DataSet
from crossbatch.errors import DivergedError
from crossbatch.training.run_parts import build_parts
from crossbatch.training.settings import Settings
from crossbatch.training.train import fit


def shortened(settings: Settings, steps: int) -> Settings:
    """The same run in fewer steps: warm-up, milestones and memory start move in proportion; no drift is measured."""
    optim, memory = settings.optim, settings.memory

    def at(step: float) -> int:
        return round(step * steps / float(optim.steps))

    start = None if memory.start is None else at(memory.start)
    milestones = sorted({max(1, at(milestone)) for milestone in optim.milestones})
    return replace(
        settings,
        optim=replace(optim, steps=steps, warmup=at(optim.warmup), milestones=milestones),
        memory=replace(memory, start=start),
        drift=replace(settings.drift, sample=0),
    )


def validated(settings: Settings, loaded: DataSet, beside: Path) -> float:
    """R@1 on validation after a run whose folder, made beside another, is removed; 0 if it diverged.

    Raises KeyboardInterrupt after SIGINT, `Terminated` after SIGTERM, and `DiskError` where the folder has no room.
    """
    beside.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=beside.parent, prefix=".short-run-") as folder:
        try:
            outcome = fit(build_parts(settings, loaded), Path(folder) / "run", Console(quiet=True))
        except DivergedError:
            return 0.0
        outcome.stop_if_asked()
        return float(outcome.summary["best_validation_R@1"])
