"""One training run, from its parts to its run folder."""

import platform
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import EarlyStopping
from lightning.pytorch.loggers import Logger
from rich.console import Console

from crossbatch import runs
from crossbatch.cross_batch import CrossBatchLoss
from crossbatch.durable import whole
from crossbatch.errors import SettingError
from crossbatch.models import backbones, checkpoint
from crossbatch.processes import started_rank
from crossbatch.training.augmented_sheet import augmented_sheet
from crossbatch.training.checkpoint_files import CheckpointFiles, read_whole
from crossbatch.training.checkpoints import BestModel, SaveLast
from crossbatch.training.circumstances import KeepCircumstances, TakeOptions, circumstances, versions
from crossbatch.training.cores import torch_threads
from crossbatch.training.diverged import StopDiverged
from crossbatch.training.drift_meters import DriftMeters
from crossbatch.training.fill_memory import FillMemory
from crossbatch.training.floor import Floor, measure
from crossbatch.training.floor import warnings as floor_warnings
from crossbatch.training.follow_network import FollowNetwork, every
from crossbatch.training.interrupt import Asked, stop_when_asked
from crossbatch.training.launch import layout
from crossbatch.training.loader_errors import without_traceback
from crossbatch.training.lock import locked
from crossbatch.training.loggers import loggers_of, quiet_lightning
from crossbatch.training.memory_start import MemoryStart
from crossbatch.training.metric_learner import LOG_EVERY
from crossbatch.training.progress_bar import ProgressBar
from crossbatch.training.resuming import Start, ending, go_on
from crossbatch.training.run_parts import RunParts
from crossbatch.training.settings import Settings
from crossbatch.training.throughput import Throughput, Waiting, augmentation_seconds

MONITOR = "val/R@1"


@dataclass(frozen=True)
class Outcome:
    """What a run came to: its summary, as in its folder, and the signal that ended it before its end, if any."""

    summary: dict[str, Any]
    ended_by: str | None = None

    @property
    def interrupted(self) -> bool:
        """Whether there is something left to do."""
        return self.ended_by is not None


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

    `force` goes on although code, versions, data or options have changed. A run that was stopped before its first
    checkpoint goes on from the weights before training, which it has kept.
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
        source, about = checkpoint.load(init)
        seen = parts.feed.evenly.preprocessing
        backbones.take(source.backbone, about.backbone, seen.channels, seen.sides)
        checkpoint.load_weights(parts.learner.embedder, source.state_dict(), init)
        checkpoint.load_weights(parts.learner.network, source.state_dict(), init)
    throughput = Throughput()
    best = _best_saver(run) if len(parts.data.validation) and not settings.refit else None
    finite = StopDiverged(run, parts.data)
    last = SaveLast(run / runs.CHECKPOINTS / f"{runs.LAST}.ckpt", settings.check_every, asked, finite)
    following = parts.learner.following
    fill = [FillMemory(lambda images, but: parts.feed.loader(parts.drawn(images, but)))] if settings.memory.fill else []
    follow = [FollowNetwork(parts, following)] if following else []
    begin = MemoryStart(parts) if parts.memory is not None and settings.memory.start is None else None
    meters = [DriftMeters(run, parts)] if settings.drift.sample else []
    moved = meters[0].latest if meters else {}
    floor = Floor(parts)
    bar = ProgressBar(console, throughput, run.name, moved, floor)
    callbacks: list[L.Callback] = [finite, floor, *follow, *([begin] if begin else []), *meters, *fill, throughput, bar]
    if settings.loop.patience:
        callbacks.append(EarlyStopping(MONITOR, mode="max", patience=settings.loop.patience))
    if start is not None:
        callbacks += [TakeOptions(settings), KeepCircumstances(run, parts)]
    callbacks += [last] if best is None else [best, last]  # "last" holds what "best" has just learned
    with quiet_lightning(), torch_threads(parts.threads):
        loggers = loggers_of(settings.loop.logger, run, 0 if start is None else start.step)
        files = CheckpointFiles(start.adapting(parts.learner) if start else None)
        trainer = _trainer(settings, loggers, callbacks, throughput.waiting, files, validates=best is not None)
        if start is None and trainer.is_global_zero:
            runs.refuse_used(run)
            held.enter_context(locked(run))
            _create(parts, run)
        path = None if start is None else start.path
        with ending(run, path, asked), stop_when_asked(asked), without_traceback():
            trainer.fit(parts.learner, datamodule=parts.feed, ckpt_path=path, weights_only=True)
    ended_by = asked.by if trainer.global_step < settings.optim.steps else None
    if ended_by and path is not None and asked.nothing_to_save:
        return Outcome(_as_before(run, start, ended_by), ended_by)
    with torch_threads(parts.threads):
        device, steps = trainer.strategy.root_device, trainer.global_step
        if ended_by:
            steps = max(last.saved_at, 0 if start is None else start.step)
        summary = _conclude(parts, run, best, last, throughput, floor, begin, device, steps, ended_by)
    return Outcome(summary, ended_by)


def _trainer(
    settings: Settings,
    loggers: list[Logger],
    callbacks: list[L.Callback],
    waiting: Waiting,
    files: CheckpointFiles,
    *,
    validates: bool,
) -> L.Trainer:
    try:
        return L.Trainer(
            max_steps=settings.optim.steps,
            max_epochs=-1,
            accelerator=settings.loop.hardware,
            **layout(settings.loop.devices),
            precision=settings.loop.precision,
            gradient_clip_val=settings.optim.clip or None,
            val_check_interval=settings.check_every,
            check_val_every_n_epoch=None,
            limit_val_batches=None if validates else 0,
            num_sanity_val_steps=0,
            log_every_n_steps=LOG_EVERY,
            logger=loggers,
            callbacks=callbacks,
            plugins=[files],
            profiler=waiting,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
    except (ValueError, RuntimeError, MisconfigurationException) as error:
        loop = settings.loop
        raise SettingError(
            f"Lightning refuses --loop.accelerator {loop.accelerator} with --loop.precision {loop.precision}: {error}"
        ) from error


def _as_before(run: Path, start: Start | None, ended_by: str) -> dict[str, Any]:
    """What a run had come to that was ended again before it went on: its files stay as they are."""
    kept = runs.read_summary(run) if (run / runs.SUMMARY).is_file() else {}
    return {**kept, "steps": start.step if start else 0, "interrupted": True, "ended_by": ended_by}


def _conclude(
    parts: RunParts,
    run: Path,
    saver: BestModel | None,
    last: SaveLast,
    throughput: Throughput,
    floor: Floor,
    start: MemoryStart | None,
    device: torch.device,
    steps: int,
    ended_by: str | None,
) -> dict[str, Any]:
    """Keep the best model and say what the run came to."""
    best = Path(saver.best_model_path) if saver and saver.best_model_path else None
    network, best_step = parts.learner.network, None
    if best is not None and best.is_file():
        found, prefix = read_whole(best), "embedder." if parts.learner.average is None else "average.module."
        state, best_step = found["state_dict"], found["global_step"]
        weights = {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
        checkpoint.load_weights(network, weights, best)
    elif steps == 0 and (run / runs.START).is_file():
        # A forward pass that was stopped has moved the statistics of BatchNorm.
        checkpoint.load_weights(network, checkpoint.tensors(run / runs.START), run)
    after = None if ended_by else measure(parts.learner.to(device), parts).summary
    network.to("cpu").eval()
    first = started_rank() == 0
    if first:
        checkpoint.save(run, network, parts.description)
    score = None if saver is None else saver.best_model_score
    summary = {
        "data": parts.data.name,
        "fingerprint": parts.data.fingerprint,
        "loss": parts.settings.loss.name,
        "memory_rows": 0 if parts.memory is None else parts.memory.size,
        "memory_steps": _steps_on(parts, steps),
        "memory_start": None if _steps_on(parts, steps) == 0 else steps - _steps_on(parts, steps),
        "memory_start_reason": "" if start is None else start.reason,
        "seed": parts.settings.seed,
        "lr": parts.settings.optim.lr,
        "steps": steps,
        "interrupted": ended_by is not None,
        "ended_by": ended_by,
        "best_validation_R@1": None if score is None else float(score),
        "best_validation_MAP@R": None if saver is None or score is None else saver.map_at_r,
        "best_step": best_step,
        "last_validation": last.validation,
        "before_training": None if floor.before is None else floor.before.summary,
        "after_training": after,
        "dim": parts.settings.model.dim,
        "training_classes": parts.data.train.classes,
        "training_seconds": round(throughput.seconds, 2),
        "waiting_for_data": round(throughput.waiting_share, 4),
        "augmentation_share": None if ended_by else _augmentation_share(parts, throughput, steps),
        "seconds": round(throughput.in_all, 2),
        "images_per_second": round(throughput.images_per_second, 1),
        "versions": versions(),
        "threads": parts.threads,
        "machine": f"{platform.machine()}, {torch.get_num_threads()} threads"
        if not torch.cuda.is_available()
        else torch.cuda.get_device_name(),
    }
    summary["warnings"] = floor_warnings(summary, parts.settings.memory.start, every(parts))
    if first:
        runs.write_json(run / runs.SUMMARY, summary)
    return summary


def _augmentation_share(parts: RunParts, throughput: Throughput, steps: int) -> float | None:
    """Share of the training time that augmentation takes, of that of the loader processes where there are any."""
    available = throughput.seconds * max(1, parts.feed.workers)
    return round(augmentation_seconds(parts) * steps / available, 4) if available else None


def _steps_on(parts: RunParts, steps: int) -> int:
    """In how many of the steps the memory counted."""
    loss_fn = parts.learner.loss_fn
    return max(0, steps - int(loss_fn.start)) if isinstance(loss_fn, CrossBatchLoss) else 0


def _best_saver(run: Path) -> BestModel:
    return BestModel(
        dirpath=run / runs.CHECKPOINTS, filename=runs.BEST, monitor=MONITOR, mode="max", enable_version_counter=False
    )


def _create(parts: RunParts, run: Path) -> None:
    """Make the folder of a run that begins, with all that it needs to begin again."""
    runs.create(run, parts.settings.as_dict(), parts.data.identity, parts.reasons)
    (run / runs.CHECKPOINTS).mkdir(exist_ok=True)
    checkpoint.save_weights(run / runs.START, parts.learner.embedder)
    runs.write_json(run / runs.CIRCUMSTANCES, circumstances(parts))
    with whole(run / runs.AUGMENTED) as file:
        augmented_sheet(parts).save(file, "PNG")
