"""One training run, from its parts to its run folder."""

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning as L
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.loggers import Logger
from rich.console import Console

from crossbatch import runs
from crossbatch.durable import whole
from crossbatch.errors import SettingError, Terminated
from crossbatch.launched import started_rank
from crossbatch.models import backbones, checkpoint
from crossbatch.training.augmented_sheet import augmented_sheet
from crossbatch.training.checkpoint_files import CheckpointFiles
from crossbatch.training.circumstances import KeepCircumstances, TakeOptions, circumstances
from crossbatch.training.conclude import conclude
from crossbatch.training.cores import torch_threads
from crossbatch.training.interrupt import Asked, stop_when_asked
from crossbatch.training.launch import layout
from crossbatch.training.loader_errors import without_traceback
from crossbatch.training.lock import locked
from crossbatch.training.loggers import ending_trackers, loggers_of, quiet_lightning
from crossbatch.training.metric_learner import LOG_EVERY
from crossbatch.training.resuming import Start, ending, go_on
from crossbatch.training.run_parts import RunParts
from crossbatch.training.settings import Settings
from crossbatch.training.watchers import Watchers, watchers_of


@dataclass(frozen=True)
class Outcome:
    """The outcome of a run: its summary, as in its folder, and the signal that ended it early, if any.

    `asked_by`: any signal that came. In the last step a signal does not end the run early, but a caller that has more
    runs to train stops.
    """

    summary: dict[str, Any]
    ended_by: str | None = None
    asked_by: str | None = None

    @property
    def interrupted(self) -> bool:
        """Whether steps are left to train."""
        return self.ended_by is not None

    def stop_if_asked(self) -> None:
        """Raise KeyboardInterrupt if SIGINT came, `Terminated` if SIGTERM did; more runs would be trained otherwise."""
        if self.asked_by is not None:
            raise Terminated if self.asked_by == "SIGTERM" else KeyboardInterrupt


def fit(
    parts: RunParts,
    run: Path,
    console: Console,
    *,
    resume: bool = False,
    init: Path | None = None,
    force: bool = False,
) -> Outcome:
    """Train into `run`; `resume` goes on from its last checkpoint, `init` starts from another run's model.

    `force` resumes although code, versions, data or options have changed. A run that was stopped before its first
    checkpoint resumes from the weights before training, which its folder keeps.
    """
    with ExitStack() as held:
        if resume and started_rank() == 0:
            held.enter_context(locked(run))
        start = go_on(parts, run, console, force=force) if resume else None
        if start is not None and start.step >= parts.settings.optim.steps and runs.is_finished(run):
            console.print(f"{run} is finished: nothing is left to do")
            return Outcome(runs.read_summary(run))
        return _fit(parts, run, console, start, init, held)


def _fit(
    parts: RunParts, run: Path, console: Console, start: Start | None, init: Path | None, held: ExitStack
) -> Outcome:
    settings, asked = parts.settings, Asked()
    if init is not None:
        source, description = checkpoint.load(init)
        seen = parts.feed.evenly.preprocessing
        backbones.take(source.backbone, description.backbone, seen.channels, seen.sides)
        checkpoint.load_weights(parts.learner.embedder, source.state_dict(), init)
        checkpoint.load_weights(parts.learner.network, source.state_dict(), init)
    watchers = watchers_of(parts, run, asked)
    resuming = [] if start is None else [TakeOptions(settings), KeepCircumstances(run, parts)]
    callbacks = watchers.callbacks(parts, run, console, resuming)
    with quiet_lightning(), torch_threads(parts.threads), ending_trackers():
        if start is None and started_rank() == 0:
            runs.refuse_used(run)  # before the loggers: some write to its folder at once
        loggers = loggers_of(settings.loop.logger, run, 0 if start is None else start.step)
        files = CheckpointFiles(start.adapting(parts.learner) if start else None)
        trainer = _trainer(settings, loggers, callbacks, watchers, files)
        if start is None and trainer.is_global_zero:
            held.enter_context(locked(run))
            _create(parts, run)
        path = None if start is None else start.path
        with ending(run, start, asked), stop_when_asked(asked), without_traceback():
            trainer.fit(parts.learner, datamodule=parts.feed, ckpt_path=path, weights_only=True)
    ended_by = asked.by if trainer.global_step < settings.optim.steps else None
    if ended_by and path is not None and asked.nothing_to_save:
        return Outcome(_as_before(run, start, ended_by), ended_by, asked.by)
    with torch_threads(parts.threads):
        device, steps = trainer.strategy.root_device, trainer.global_step
        if ended_by:
            steps = max(watchers.last.saved_at, 0 if start is None else start.step)
        summary = conclude(parts, run, watchers, device, steps, ended_by)
    return Outcome(summary, ended_by, asked.by)


def _trainer(
    settings: Settings,
    loggers: list[Logger],
    callbacks: list[L.Callback],
    watchers: Watchers,
    files: CheckpointFiles,
) -> L.Trainer:
    processes = layout(settings.loop.devices)
    try:
        return L.Trainer(
            max_steps=settings.optim.steps,
            max_epochs=-1,
            accelerator=settings.loop.hardware,
            **processes,
            precision=settings.loop.precision,
            gradient_clip_val=settings.optim.clip or None,
            val_check_interval=settings.check_every,
            check_val_every_n_epoch=None,
            limit_val_batches=None if watchers.best else 0,
            num_sanity_val_steps=0,
            log_every_n_steps=LOG_EVERY,
            logger=loggers,
            callbacks=callbacks,
            plugins=[files],
            profiler=watchers.throughput.waiting,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
    except (ValueError, RuntimeError, MisconfigurationException) as error:
        loop = settings.loop
        raise SettingError(
            f"Lightning refuses --loop.accelerator {loop.accelerator} with --loop.precision {loop.precision}: {error}"
        ) from error


def _as_before(run: Path, start: Start | None, ended_by: str) -> dict[str, Any]:
    """The summary of a resumed run that was stopped before it trained a step: its files stay as they are."""
    kept = runs.read_summary(run) if (run / runs.SUMMARY).is_file() else {}
    return {**kept, "steps": start.step if start else 0, "interrupted": True, "ended_by": ended_by}


def _create(parts: RunParts, run: Path) -> None:
    """Make the folder of a new run, with all that is needed to begin the run again."""
    runs.create(run, parts.settings.as_dict(), parts.data.outline, parts.reasons)
    (run / runs.CHECKPOINTS).mkdir(exist_ok=True)
    checkpoint.save_weights(run / runs.START, parts.learner.embedder)
    runs.write_json(run / runs.CIRCUMSTANCES, circumstances(parts))
    with whole(run / runs.AUGMENTED) as file:
        augmented_sheet(parts).save(file, "PNG")
