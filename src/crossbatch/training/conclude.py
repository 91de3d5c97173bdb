"""The end of a run: its best model is kept, and its results are written to its summary."""

import platform
from pathlib import Path
from typing import Any

import torch

from crossbatch import runs
from crossbatch.cross_batch import CrossBatchLoss
from crossbatch.launched import started, started_rank
from crossbatch.models import checkpoint
from crossbatch.processes import Processes
from crossbatch.training.checkpoint_files import read_whole
from crossbatch.training.checkpoints import BestModel
from crossbatch.training.circumstances import versions
from crossbatch.training.floor import measure
from crossbatch.training.floor import warnings as floor_warnings
from crossbatch.training.follow_network import every
from crossbatch.training.run_parts import RunParts
from crossbatch.training.throughput import Throughput, augmentation_seconds
from crossbatch.training.watchers import Watchers


def conclude(
    parts: RunParts, run: Path, watchers: Watchers, device: torch.device, steps: int, ended_by: str | None
) -> dict[str, Any]:
    """Keep the best model and return the summary; `ended_by`: the signal that ended the run early, if any."""
    best_step = _take_best(parts, run, watchers.best, steps)
    if not ended_by:
        _take_statistics_of_first(parts)
    after = None if ended_by else measure(parts.learner.to(device), parts).summary
    parts.learner.network.to("cpu").eval()
    first = started_rank() == 0
    if first:
        checkpoint.save(run, parts.learner.network, parts.description)
    summary = {
        **_what_was_trained(parts),
        **_what_the_memory_did(parts, watchers, steps),
        "steps": steps,
        "interrupted": ended_by is not None,
        "ended_by": ended_by,
        **_what_validation_says(watchers),
        "best_step": best_step,
        "before_training": None if watchers.floor.before is None else watchers.floor.before.summary,
        "after_training": after,
        **_what_it_took(parts, watchers.throughput),
        "augmentation_share": None if ended_by else _augmentation_share(parts, watchers.throughput, steps),
    }
    summary["warnings"] = floor_warnings(summary, parts.settings.memory.start, every(parts))
    if first:
        runs.write_json(run / runs.SUMMARY, summary)
    return summary


def _take_best(parts: RunParts, run: Path, saver: BestModel | None, steps: int) -> int | None:
    """Load the weights that were best on validation into the network; their step, or None where there are none."""
    network = parts.learner.network
    best = Path(saver.best_model_path) if saver and saver.best_model_path else None
    if best is not None and best.is_file():
        saved, prefix = read_whole(best), "embedder." if parts.learner.average is None else "average.module."
        state = saved["state_dict"]
        weights = {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
        checkpoint.load_weights(network, weights, best)
        return int(saved["global_step"])
    if steps == 0 and (run / runs.START).is_file():
        # A forward pass before the stop may have changed the statistics of BatchNorm.
        checkpoint.load_weights(network, checkpoint.tensors(run / runs.START), run)
    return None


def _take_statistics_of_first(parts: RunParts) -> None:
    """Give all processes the BatchNorm statistics of the first, whose model is saved: each measures a share."""
    processes = Processes()
    for statistics in parts.learner.network.buffers():
        statistics.copy_(processes.of_first(statistics))


def _what_was_trained(parts: RunParts) -> dict[str, Any]:
    settings = parts.settings
    return {
        "data": parts.data.name,
        "fingerprint": parts.data.fingerprint,
        "training_classes": parts.data.train.classes,
        "loss": settings.loss.name,
        "dim": settings.model.dim,
        "seed": settings.seed,
        "lr": settings.optim.lr,
    }


def _what_the_memory_did(parts: RunParts, watchers: Watchers, steps: int) -> dict[str, Any]:
    loss_fn = parts.learner.loss_fn
    counted = max(0, steps - int(loss_fn.start)) if isinstance(loss_fn, CrossBatchLoss) else 0
    return {
        "memory_rows": 0 if parts.memory is None else parts.memory.size,
        "memory_steps": counted,
        "memory_start": None if counted == 0 else steps - counted,
        "memory_start_reason": "" if watchers.begin is None else watchers.begin.reason,
    }


def _what_validation_says(watchers: Watchers) -> dict[str, Any]:
    best = watchers.best
    score = None if best is None else best.best_model_score
    return {
        "best_validation_R@1": None if score is None else float(score),
        "best_validation_MAP@R": None if best is None or score is None else best.map_at_r,
        "last_validation": watchers.last.validation,
    }


def _what_it_took(parts: RunParts, throughput: Throughput) -> dict[str, Any]:
    on_cpu = parts.settings.loop.hardware == "cpu" or not torch.cuda.is_available()
    threads = torch.get_num_threads()
    cores = f"{platform.machine()}, {threads} thread{'s' * (threads > 1)}"
    return {
        "training_seconds": round(throughput.seconds, 2),
        "waiting_for_data": round(throughput.waiting_share, 4),
        "seconds": round(throughput.in_all, 2),
        "images_per_second": round(throughput.images_per_second, 1),
        "versions": versions(),
        "threads": parts.threads,
        "processes": started(),
        "machine": cores if on_cpu else torch.cuda.get_device_name(),
    }


def _augmentation_share(parts: RunParts, throughput: Throughput, steps: int) -> float | None:
    """Share of the training time that augmentation takes; with loader processes, of their time together."""
    available = throughput.seconds * max(1, parts.feed.workers)
    return round(augmentation_seconds(parts) * steps / available, 4) if available else None
