"""`crossbatch train`: one training run, into a run folder."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console

from crossbatch import runs
from crossbatch.errors import RunError, SettingError
from crossbatch.processes import started_rank
from crossbatch.training.settings import Settings
from crossbatch.typed import typed


def train(
    settings: Settings,
    out: Path | None = None,
    resume: Path | None = None,
    init: Path | None = None,
    trust: bool = False,
    force: bool = False,
    *,
    given: Mapping[str, Any],
    console: Console,
) -> dict[str, Any]:
    """Train an embedding model with a cross-batch memory.

    Looks at the training and validation classes only; `crossbatch evaluate RUN` then looks at test.

    Args:
        settings: All options of a training run.
        out: Run folder to make; by default runs/DATA-LOSS-seedN.
        resume: Run folder to go on with, from its last checkpoint that is whole.
        init: Run folder whose model to start from, to fine-tune it.
        trust: With --resume, import the classes that the run folder names, as a loss of your own.
        force: With --resume, go on although code, versions, data or options are not those it began with; options given
            beside it are then taken.
        given: Those of the settings that were given, by name.
    """
    if resume is None:
        _check_new(settings, init, {"--trust": trust, "--force": force})
    else:
        if init is not None or out is not None:
            raise SettingError("--resume goes on in the run's own folder: leave --out and --init out")
        settings = _of_run(resume, settings, given, trust=trust)
    run = resume or out or Path("runs", f"{settings.data}-{settings.loss.name}-seed{settings.seed}")
    if resume is None and started_rank() == 0:
        runs.refuse_used(run)
    from crossbatch.training.plan import plan_of  # noqa: PLC0415  (imports Lightning)
    from crossbatch.training.run_parts import build_parts  # noqa: PLC0415
    from crossbatch.training.settings import FRESH_TRAINED  # noqa: PLC0415
    from crossbatch.training.train import fit  # noqa: PLC0415

    parts = build_parts(settings if init is None else settings.fresh_at(FRESH_TRAINED))
    for line in plan_of(parts):
        console.print(line, soft_wrap=True, highlight=False)
    outcome = fit(parts, run, console, resume=resume is not None, init=init, force=force)
    result = {"run": str(run), **outcome.summary}
    if outcome.interrupted:
        steps = f"stopped by {outcome.ended_by} after {outcome.summary['steps']:,} of {settings.optim.steps:,} steps"
        way_on = f"crossbatch train --resume {typed(run)}"
        console.print(f"{steps}; all is saved: {way_on}", soft_wrap=True, highlight=False)
        return result
    for line in _told(run, outcome.summary):
        console.print(line, soft_wrap=True, highlight=False)
    return result


def _check_new(settings: Settings, init: Path | None, of_resume: Mapping[str, bool]) -> None:
    """Refuse for a new run what contradicts itself, and what only one that goes on takes."""
    settings.check()
    for name, given in of_resume.items():
        if given:
            raise SettingError(f"{name} is for a run that goes on: give --resume RUN beside it, or leave it out")
    if init is not None and settings.model.weights is not None:
        raise SettingError("--init and --model.weights both say what to start from: give one of them")


def _of_run(run: Path, settings: Settings, given: Mapping[str, Any], *, trust: bool) -> Settings:
    """The settings of a run to go on with, and what was given beside."""
    kept = Settings.from_dict(runs.read_config(run))
    if kept.class_paths and not trust:
        raise SettingError(
            f"{run} names classes to import, {', '.join(kept.class_paths)}: add --trust if they are yours"
        )
    if not runs.is_begun(run):
        raise RunError(f"{run} has no checkpoint to go on from: start it anew with another --out")
    from crossbatch.training.circumstances import with_given  # noqa: PLC0415  (imports Lightning)

    settings = with_given(kept, settings, given)
    settings.check()
    # It has the weights: what they started from may be gone.
    return replace(settings, model=replace(settings.model, pretrained=False, weights=None))


def _told(run: Path, summary: dict[str, Any]) -> list[str]:
    """What a finished run came to, a sentence a line."""
    best = summary["best_validation_R@1"]
    score = "trained on all classes" if best is None else f"best validation R@1 {best:.4f}"
    lines = [f"{score}; waited for data {summary['waiting_for_data']:.0%} of the training time; run folder: {run}"]
    if summary["memory_start_reason"]:
        lines.append(f"the memory counted from step {summary['memory_start']:,}: {summary['memory_start_reason']}")
    lines += [f"warning: {warning}" for warning in summary["warnings"]]
    folder = typed(run)
    return [*lines, f"next: crossbatch evaluate {folder}; crossbatch report {folder}; crossbatch serve {folder}"]
