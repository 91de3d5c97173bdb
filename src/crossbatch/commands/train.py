"""`crossbatch train`: train a model into a run folder."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from crossbatch import runs
from crossbatch.data import DATA_SETS
from crossbatch.errors import RunError, SettingError
from crossbatch.launched import started, started_rank
from crossbatch.training.settings import Settings
from crossbatch.typed import typed

if TYPE_CHECKING:
    from crossbatch.data.data_set import DataSet

MOST_RUNS = 1000  # most run folders of one name, numbered


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
        out: Run folder to make; by default runs/NAME-LOSS-seedN, as ROOT is named.
        resume: Run folder to continue, from its last complete checkpoint.
        init: Run folder whose model to start from, to fine-tune it.
        trust: With --resume, import the classes that the run folder names, such as a loss of your own.
        force: With --resume, continue although code, versions, data or options have changed; options given
            beside it are then taken.
        given: The settings that the user gave, by name.
    """
    if resume is None:
        _check_new(settings, init, {"--trust": trust, "--force": force})
        settings = settings.at_usual_rate(given)
    else:
        settings = _of_run(resume, settings, given, trust=trust, beside=[out, init])
    run = resume or out or _usual(settings)
    if resume is None and started_rank() == 0:
        runs.refuse_used(run)
    from crossbatch.training.plan import plan_of, print_plan  # noqa: PLC0415  (imports Lightning)
    from crossbatch.training.race import race, rivals_of  # noqa: PLC0415
    from crossbatch.training.run_parts import build_parts, load_data  # noqa: PLC0415
    from crossbatch.training.train import fit  # noqa: PLC0415

    if init is not None:
        settings = _from(init, settings, given)
    loaded = load_data(settings)
    if resume is not None and not force:
        from crossbatch.training.circumstances import refuse_other_data  # noqa: PLC0415

        refuse_other_data(resume, loaded)
    parts = build_parts(settings, loaded)
    if resume is None and init is None and rivals_of(settings, loaded):
        held_out = load_data(replace(settings, refit=False)) if settings.refit else loaded
        raced = race(settings, held_out, console, run)
        parts = build_parts(raced.applied(settings), loaded) if raced.values else parts
        parts = replace(parts, reasons=raced.reasons(parts.reasons))
    print_plan(console, [*plan_of(parts), *([] if init is None else _started_from(init, loaded, settings))])
    outcome = fit(parts, run, console, resume=resume is not None, init=init, force=force)
    _keep_place(resume, settings)
    summary = outcome.summary
    lines = _told(run, summary, settings.data, tested=any(len(search.query) for search in loaded.tests.values()))
    if outcome.interrupted:
        stopped = f"stopped by {outcome.ended_by} after {summary['steps']:,} of {settings.optim.steps:,} steps"
        kept = "all is saved" if summary["steps"] else "nothing is trained yet"
        lines = [f"{stopped}; {kept}: crossbatch train --resume {typed(run)}"]
    for line in lines:
        console.print(line)
    return {"run": str(run), **summary}


def _from(init: Path, settings: Settings, given: Mapping[str, Any]) -> Settings:
    """The settings of a run that starts from the model of the run `init`."""
    from crossbatch.training.settings import FRESH_TRAINED  # noqa: PLC0415
    from crossbatch.training.started_from import with_model_of  # noqa: PLC0415

    settings = with_model_of(init, settings, given.get("model", {}))
    settings.check()  # `dims` too, which `_check_new` left out: the length of embeddings is that of `init`
    return settings.fresh_at(FRESH_TRAINED).at_usual_rate(given, trained=True)


def _started_from(init: Path, loaded: "DataSet", settings: Settings) -> list[str]:
    from crossbatch.training.started_from import seen_before  # noqa: PLC0415

    trained = ("train", "validation") if settings.refit else ("train",)
    return [f"weights   all those of {init}", *(f"note      {note}" for note in seen_before(init, loaded, trained))]


def _check_new(settings: Settings, init: Path | None, of_resume: Mapping[str, bool]) -> None:
    """Refuse options of a new run that contradict each other, and those that only --resume takes."""
    (settings if init is None else replace(settings, model=replace(settings.model, dims=[]))).check()
    for name, given in of_resume.items():
        if given:
            raise SettingError(f"{name} is for a run that goes on: give --resume RUN beside it, or leave it out")
    if init is not None and settings.model.weights is not None:
        raise SettingError("--init and --model.weights both say what to start from: give one of them")


def _of_run(
    run: Path, settings: Settings, given: Mapping[str, Any], *, trust: bool, beside: Sequence[Path | None]
) -> Settings:
    """The settings of a run to continue, with the options given; `beside`: folders that --resume does not allow."""
    if any(beside):
        raise SettingError("--resume goes on in the run's own folder: leave --out and --init out")
    kept = Settings.from_dict(runs.read_config(run))
    if kept.class_paths and not trust:
        raise SettingError(
            f"{run} names classes to import, {', '.join(kept.class_paths)}: add --trust if they are yours"
        )
    runs.refuse_several(run)
    if not runs.is_begun(run):
        raise RunError(f"{run} has no checkpoint to go on from: start it anew with another --out")
    from crossbatch.training.circumstances import with_given  # noqa: PLC0415  (imports Lightning)
    from crossbatch.training.launch import by_launcher  # noqa: PLC0415

    if by_launcher()[0] > 1:  # the launcher says how many processes there are now
        kept = replace(kept, loop=replace(kept.loop, devices=None))
    settings = with_given(kept, settings, given)
    settings.check()
    if settings.root is not None and not settings.root.exists():
        way_on = f"say where it is, crossbatch train ROOT --resume {typed(run)}"
        raise RunError(f"{run} is trained on images at {settings.root}, which is gone: {way_on}")
    # The run folder has the weights; the file that they started from may be gone.
    return replace(settings, model=replace(settings.model, pretrained=False, weights=None))


def _keep_place(run: Path | None, settings: Settings) -> None:
    """Write where the images of a resumed run are now, if they have moved: evaluate and serve read them there."""
    if run is None or started_rank() != 0:
        return
    kept = runs.read_config(run)
    place = settings.as_dict()["root"]
    if kept.get("root") != place:
        runs.write_config(run, {**kept, "root": place}, runs.read_decided(run))


def _usual(settings: Settings) -> Path:
    """The default run folder: named by images, loss and seed, with a number if that run is finished."""
    usual = Path("runs", f"{settings.name}-{settings.loss.name}-seed{settings.seed}")
    places = [usual, *(usual.with_name(f"{usual.name}-{number}") for number in range(2, MOST_RUNS))]
    return next(place for place in places if started() > 1 or not runs.is_finished(place))


def _told(run: Path, summary: dict[str, Any], data: str, *, tested: bool) -> list[str]:
    """The lines to print after a finished run: result, warnings, and next commands; `tested`: there is a test part."""
    best = summary["best_validation_R@1"]
    score = "trained on all classes" if best is None else f"best validation R@1 {best:.4f}"
    lines = [f"{score}; waited for data {summary['waiting_for_data']:.0%} of the training time; run folder: {run}"]
    if summary["memory_start_reason"]:
        lines.append(f"the memory counted from step {summary['memory_start']:,}: {summary['memory_start_reason']}")
    lines += [f"warning: {warning}" for warning in summary["warnings"]]
    folder = typed(run)
    own = "" if data in DATA_SETS else f" --data {data}"
    ways = [f"crossbatch evaluate {folder}{own}"] if tested else []
    ways += [f"crossbatch report {folder}", f"crossbatch serve {folder}{own}"]
    return [*lines, f"next: {'; '.join(ways)}"]
