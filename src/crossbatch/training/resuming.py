"""Resuming a run: from which checkpoint, under which changes, and with which error the run ends."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from textwrap import shorten
from typing import Any

from rich.console import Console

from crossbatch import runs
from crossbatch.durable import sweep
from crossbatch.errors import NO_ROOM, CrossBatchError, DiskError, RunError
from crossbatch.launched import started_rank
from crossbatch.models import checkpoint
from crossbatch.training.checkpoint_files import choose, damage
from crossbatch.training.circumstances import accept
from crossbatch.training.interrupt import Asked, Stopped
from crossbatch.training.metric_learner import MetricLearner
from crossbatch.training.run_parts import RunParts
from crossbatch.typed import typed

OF_IMAGES = ("loss_fn.memory.", "following.")  # entries of a learner's state that depend on its images
HELD = ("model.", "memory.", "loss.", "optim.ema", "optim.head_lr", "refit")  # options that shape a checkpoint
MEASURED = ("DriftMeters", "Floor", "BestModel", "EarlyStopping")  # callbacks whose state was measured on images


@dataclass(frozen=True)
class Start:
    """Where a run resumes: at a checkpoint and its step, or at its start; and the changes since then, in words."""

    path: Path | None
    step: int
    changed: tuple[str, ...]

    @property
    def other_images(self) -> bool:
        """Whether the run resumes on other images than before."""
        return any(change.startswith("data ") for change in self.changed)

    def adapting(self, learner: MetricLearner) -> Callable[[dict[str, Any]], dict[str, Any]] | None:
        """A function that removes from a checkpoint all that the changes make invalid; None without changes."""
        if self.other_images:
            return lambda found: without_end(without_images(learner, found))
        return without_end if self.changed else None


def without_end(found: dict[str, Any]) -> dict[str, Any]:
    """The checkpoint, marked as not stopped early, so that the run can go on under the changes."""
    callbacks = dict(found["callbacks"])
    if "SaveLast" in callbacks:
        callbacks["SaveLast"] = {**callbacks["SaveLast"], "ended": False}
    return {**found, "callbacks": callbacks}


def without_images(learner: MetricLearner, found: dict[str, Any]) -> dict[str, Any]:
    """The checkpoint with an empty memory, and without the measurements on its images."""
    state = {name: value for name, value in found["state_dict"].items() if not name.startswith(OF_IMAGES)}
    state |= {name: value for name, value in learner.state_dict().items() if name.startswith(OF_IMAGES)}
    callbacks = {name: value for name, value in found["callbacks"].items() if not name.startswith(MEASURED)}
    if "SaveLast" in callbacks:
        callbacks["SaveLast"] = {**callbacks["SaveLast"], "validation": None}
    if "MemoryStart" in callbacks:
        callbacks["MemoryStart"] = {**callbacks["MemoryStart"], "embedded": {}, "carried": {}}
    return {**found, "state_dict": state, "callbacks": callbacks}


def go_on(parts: RunParts, run: Path, console: Console, *, force: bool) -> Start:
    """Choose the checkpoint to resume from; print what is damaged or has changed; refuse changes unless forced."""
    if not runs.is_begun(run):
        raise RunError(f"{run} was stopped before it had begun, and has nothing to go on from: start it anew")
    path, step, damaged = choose(run) if runs.has_checkpoint(run) else (None, 0, [])
    if damaged:  # printed before changes are refused, since the damaged file has been moved aside
        _warn(console, [*damaged, f"the checkpoint before it is used, of step {step:,}"])
    changed, warnings = accept(run, parts, force=force), list[str]()
    _refuse_ended(
        run, parts.settings.optim.steps - step, [change for change in changed if change.startswith("option ")]
    )
    best = run / runs.CHECKPOINTS / f"{runs.BEST}.ckpt"
    if path is not None and best.is_file() and (reason := damage(best)):
        warnings.append(f"{best} is damaged: {reason}: the best model from here on is kept")
    if changed:
        warnings.append(f"goes on with a changed {', '.join(changed)}")
    _warn(console, warnings)
    if started_rank() == 0:
        sweep(run / runs.CHECKPOINTS)
    if path is None:
        began_from = checkpoint.tensors(run / runs.START)
        for network in (parts.learner.embedder, parts.learner.network):
            checkpoint.load_weights(network, began_from, run)
    return Start(path, step, tuple(changed))


def _refuse_ended(run: Path, left: int, changed: list[str]) -> None:
    """Refuse changed options for a run that has no step left to train with them."""
    if changed and left <= 0:
        raise RunError(
            f"{run} is trained to its end, so nothing would be trained with the changed {', '.join(changed)}: "
            f"raise --optim.steps beside --force, or start anew from its model with --init {typed(run)}"
        )


def _warn(console: Console, told: list[str]) -> None:
    for line in told:
        console.print(f"warning: {line}")


@contextmanager
def ending(run: Path, start: Start | None, asked: Asked) -> Iterator[None]:
    """Turn an error within the block into one sentence, and let a requested end pass without an error."""
    try:
        yield
    except Stopped:
        return
    except Exception as error:
        if asked.by == "SIGTERM" and not isinstance(error, CrossBatchError):
            return  # SIGTERM may also end a loader process that has just started; the last checkpoint stays
        sentence = _told(error, run, start if asked.nothing_to_save else None)
        if sentence is None:
            raise
        raise sentence from error


def _told(error: Exception, run: Path, start: Start | None) -> CrossBatchError | None:
    """The sentence for an error that ended a run or prevented its resume; None where the error itself is raised."""
    if isinstance(error, DiskError):
        return DiskError(f"{error}: crossbatch train --resume {typed(run)}")
    if isinstance(error, OSError) and error.errno in NO_ROOM:
        way_out = f"make some, and then crossbatch train --resume {typed(run)}"
        return DiskError(f"no room on the disk ({error}): the last checkpoint is whole; {way_out}")
    if start is None or start.path is None or isinstance(error, CrossBatchError):
        return None
    anew = f"start anew with --init {typed(run)}"
    held = [change for change in start.changed if change.removeprefix("option ").startswith(HELD)]
    if held:
        return RunError(f"{run} cannot go on with a changed {', '.join(held)}: leave that as it was, or {anew}")
    reason = shorten(f"{type(error).__name__}: {error}", 160, placeholder=" …")
    return RunError(f"the checkpoint {start.path} does not fit the run ({reason}): {anew}")
