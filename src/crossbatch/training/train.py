"""One training run, from its parts to its run folder."""

import platform
import time
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from lightning.pytorch.loggers import Logger
from rich.console import Console

from crossbatch import runs
from crossbatch.cross_batch import CrossBatchLoss
from crossbatch.errors import RunError, SettingError
from crossbatch.models import checkpoint
from crossbatch.processes import started_rank
from crossbatch.training.augmented_sheet import augmented_sheet
from crossbatch.training.checkpoints import BestModel, SaveLast
from crossbatch.training.cores import torch_threads
from crossbatch.training.drift_meters import DriftMeters
from crossbatch.training.fill_memory import FillMemory
from crossbatch.training.floor import Floor, measure
from crossbatch.training.floor import warnings as floor_warnings
from crossbatch.training.follow_network import FollowNetwork
from crossbatch.training.interrupt import stop_when_asked
from crossbatch.training.launch import layout
from crossbatch.training.loader_errors import without_traceback
from crossbatch.training.loggers import loggers_of, quiet_lightning
from crossbatch.training.memory_start import MemoryStart
from crossbatch.training.metric_learner import LOG_EVERY
from crossbatch.training.progress_bar import ProgressBar
from crossbatch.training.run_parts import RunParts
from crossbatch.training.settings import Settings
from crossbatch.training.throughput import Throughput, Waiting, augmentation_seconds

MONITOR = "val/R@1"


@dataclass(frozen=True)
class Outcome:
    """What a run came to: its summary, as in its folder, and whether a person stopped it."""

    summary: dict[str, Any]
    interrupted: bool


def fit(parts: RunParts, run: Path, console: Console, *, resume: bool = False, init: Path | None = None) -> Outcome:
    """Train into `run`; `resume` goes on from its last checkpoint, `init` starts from another run's model."""
    settings = parts.settings
    start = runs.last_checkpoint(run) if resume else None
    step = _checkpoint_step(start) if start else 0
    if init is not None:
        source, _ = checkpoint.load(init)
        checkpoint.load_weights(parts.learner.embedder, source.state_dict(), init)
    throughput = Throughput()
    best = _best_saver(run) if len(parts.data.validation) and not settings.refit else None
    last = SaveLast(run / runs.CHECKPOINTS / f"{runs.LAST}.ckpt", settings.check_every)
    following = parts.learner.following
    fill = [FillMemory(lambda images, but: parts.feed.loader(parts.drawn(images, but)))] if settings.memory.fill else []
    follow = [FollowNetwork(parts, following)] if following else []
    begin = MemoryStart(parts) if parts.memory is not None and settings.memory.start is None else None
    meters = [DriftMeters(run, parts)] if settings.drift.sample else []
    moved = meters[0].latest if meters else {}
    floor = Floor(parts, run)
    bar = ProgressBar(console, throughput, run.name, moved, floor)
    callbacks: list[L.Callback] = [floor, *follow, *([begin] if begin else []), *meters, *fill, throughput, bar]
    if settings.loop.patience:
        callbacks.append(EarlyStopping(MONITOR, mode="max", patience=settings.loop.patience))
    callbacks += [last] if best is None else [best, last]  # "last" holds what "best" has just learned
    began = time.perf_counter()
    with quiet_lightning(), torch_threads(parts.threads):
        loggers = loggers_of(settings.loop.logger, run, step)
        trainer = _trainer(settings, loggers, callbacks, throughput.waiting, validates=best is not None)
        if resume:
            runs.require_data(run, parts.data.identity)
        elif trainer.is_global_zero:
            runs.create(run, settings.as_dict(), parts.data.identity, parts.reasons)
            augmented_sheet(parts).save(run / runs.AUGMENTED)
        with stop_when_asked(trainer) as asked, without_traceback():
            trainer.fit(parts.learner, datamodule=parts.feed, ckpt_path=start, weights_only=True)
    interrupted = asked.yes and trainer.global_step < settings.optim.steps
    seconds = time.perf_counter() - began
    with torch_threads(parts.threads):
        device, steps = trainer.strategy.root_device, trainer.global_step
        summary = _conclude(parts, run, best, throughput, floor, begin, device, steps, seconds, interrupted)
    return Outcome(summary, interrupted)


def _trainer(
    settings: Settings, loggers: list[Logger], callbacks: list[L.Callback], waiting: Waiting, *, validates: bool
) -> L.Trainer:
    try:
        return L.Trainer(
            max_steps=settings.optim.steps,
            max_epochs=-1,
            accelerator=settings.loop.accelerator,
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
            profiler=waiting,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
    except (ValueError, RuntimeError, MisconfigurationException) as error:
        loop = settings.loop
        raise SettingError(
            f"Lightning refuses --loop.accelerator {loop.accelerator} with --loop.precision {loop.precision}: {error}"
        ) from error


def _conclude(
    parts: RunParts,
    run: Path,
    saver: ModelCheckpoint | None,
    throughput: Throughput,
    floor: Floor,
    start: MemoryStart | None,
    device: torch.device,
    steps: int,
    seconds: float,
    interrupted: bool,
) -> dict[str, Any]:
    """Keep the best model and say what the run came to."""
    best = Path(saver.best_model_path) if saver and saver.best_model_path else None
    network, validation = parts.learner.embedder, parts.learner.validation
    if best is not None and best.is_file():
        state = torch.load(best, map_location="cpu", weights_only=True)["state_dict"]
        prefix = "embedder."
        weights = {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
        checkpoint.load_weights(network, weights, best)
    after = None if interrupted else measure(parts.learner.to(device), parts).summary
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
        "interrupted": interrupted,
        "best_validation_R@1": None if score is None else float(score),
        "last_validation": None if validation is None else validation.summary(),
        "before_training": None if floor.before is None else floor.before.summary,
        "after_training": after,
        "dim": parts.settings.model.dim,
        "training_classes": parts.data.train.classes,
        "training_seconds": round(throughput.seconds, 2),
        "waiting_for_data": round(throughput.waiting_share, 4),
        "augmentation_share": None if interrupted else _augmentation_share(parts, throughput, steps),
        "seconds": round(seconds, 2),
        "images_per_second": round(throughput.images_per_second, 1),
        "versions": {name: version(name) for name in ("crossbatch", "torch", "torchvision", "timm", "lightning")},
        "threads": parts.threads,
        "machine": f"{platform.machine()}, {torch.get_num_threads()} threads"
        if not torch.cuda.is_available()
        else torch.cuda.get_device_name(),
    }
    summary["warnings"] = floor_warnings(summary)
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


def _best_saver(run: Path) -> ModelCheckpoint:
    return BestModel(
        dirpath=run / runs.CHECKPOINTS, filename=runs.BEST, monitor=MONITOR, mode="max", enable_version_counter=False
    )


def _checkpoint_step(path: Path) -> int:
    """The step a checkpoint was taken at; reading it whole finds a truncated one before anything starts."""
    try:
        return int(torch.load(path, map_location="cpu", weights_only=True)["global_step"])
    except Exception as error:  # torch raises what zipfile, pickle and its own reader raise
        raise RunError(
            f"the checkpoint {path} cannot be read (truncated or not one of ours): "
            f"copy it again, or start anew with --init {path.parent.parent} and another --out"
        ) from error
