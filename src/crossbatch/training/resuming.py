"""Going on with a run: from which checkpoint, whether it is still the same run, and how what ends it is told."""

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

OF_IMAGES = ("loss_fn.memory.", "following.")  # of the state of a learner
HELD = ("model.", "memory.", "loss.", "optim.ema", "optim.head_lr", "refit")  # options that decide what one holds
MEASURED = ("DriftMeters", "Floor", "BestModel", "EarlyStopping")  # callbacks whose state is what images gave


@dataclass(frozen=True)
class Start:
    """Where a run goes on: at a checkpoint and its step, or at its start; and what has changed since, in words."""

    path: Path | None
    step: int
    changed: tuple[str, ...]

    @property
    def other_images(self) -> bool:
        """Whether it goes on with other images than before."""
        return any(one.startswith("data ") for one in self.changed)

    def adapting(self, learner: MetricLearner) -> Callable[[dict[str, Any]], dict[str, Any]] | None:
        """What takes out of a checkpoint what may be otherwise now; None where nothing has changed."""
        if self.other_images:
            return lambda found: without_end(without_images(learner, found))
        return without_end if self.changed else None


def without_end(found: dict[str, Any]) -> dict[str, Any]:
    """A checkpoint of a run that had not stopped early: under what has changed it may go on."""
    callbacks = found["callbacks"]
    return {**found, "callbacks": {**callbacks, "SaveLast": {**callbacks["SaveLast"], "ended": False}}}


def without_images(learner: MetricLearner, found: dict[str, Any]) -> dict[str, Any]:
    """A checkpoint with an empty memory, and without what was measured on images."""
    state = {name: value for name, value in found["state_dict"].items() if not name.startswith(OF_IMAGES)}
    state |= {name: value for name, value in learner.state_dict().items() if name.startswith(OF_IMAGES)}
    callbacks = {name: value for name, value in found["callbacks"].items() if not name.startswith(MEASURED)}
    if "SaveLast" in callbacks:
        callbacks["SaveLast"] = {**callbacks["SaveLast"], "validation": None}
    if "MemoryStart" in callbacks:
        callbacks["MemoryStart"] = {**callbacks["MemoryStart"], "embedded": {}, "carried": {}}
    return {**found, "state_dict": state, "callbacks": callbacks}


def go_on(parts: RunParts, run: Path, console: Console, *, force: bool) -> Start:
    """Choose what to go on from, and say what is damaged and what has changed; refuse changes that are not forced."""
    if not runs.is_begun(run):
        raise RunError(f"{run} was stopped before it had begun, and has nothing to go on from: start it anew")
    path, step, damaged = choose(run) if runs.has_checkpoint(run) else (None, 0, [])
    if damaged:  # told before what has changed is refused, as the damaged one is set aside by now
        _warn(console, [*damaged, f"the checkpoint before it is used, of step {step:,}"])
    changed, told = accept(run, parts, force=force), list[str]()
    _refuse_ended(run, parts.settings.optim.steps - step, [one for one in changed if one.startswith("option ")])
    best = run / runs.CHECKPOINTS / f"{runs.BEST}.ckpt"
    if path is not None and best.is_file() and (reason := damage(best)):
        told.append(f"{best} is damaged: {reason}: the best model from here on is kept")
    if changed:
        told.append(f"goes on with a changed {', '.join(changed)}")
    _warn(console, told)
    if started_rank() == 0:
        sweep(run / runs.CHECKPOINTS)
    if path is None:
        began_from = checkpoint.tensors(run / runs.START)
        for network in (parts.learner.embedder, parts.learner.network):
            checkpoint.load_weights(network, began_from, run)
    return Start(path, step, tuple(changed))


def _refuse_ended(run: Path, left: int, changed: list[str]) -> None:
    """Refuse other options for a run that has no step left to take with them."""
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
    """What ends a run within is an end that was asked for, or one sentence."""
    try:
        yield
    except Stopped:
        return
    except Exception as error:
        if asked.by == "SIGTERM" and not isinstance(error, CrossBatchError):
            return  # what else it has ended, as a loader process that was just born: the last checkpoint stays
        told = _told(error, run, start if asked.nothing_to_save else None)
        if told is None:
            raise
        raise told from error


def _told(error: Exception, run: Path, start: Start | None) -> CrossBatchError | None:
    """The sentence for what ended a run, or its going on from a checkpoint; None where it has one, or there is none."""
    if isinstance(error, DiskError):
        return DiskError(f"{error}: crossbatch train --resume {typed(run)}")
    if isinstance(error, OSError) and error.errno in NO_ROOM:
        way_out = f"make some, and then crossbatch train --resume {typed(run)}"
        return DiskError(f"no room on the disk ({error}): the last checkpoint is whole; {way_out}")
    if start is None or start.path is None or isinstance(error, CrossBatchError):
        return None
    anew = f"start anew with --init {typed(run)}"
    held = [one for one in start.changed if one.removeprefix("option ").startswith(HELD)]
    if held:
        return RunError(f"{run} cannot go on with a changed {', '.join(held)}: leave that as it was, or {anew}")
    reason = shorten(f"{type(error).__name__}: {error}", 160, placeholder=" …")
    return RunError(f"the checkpoint {start.path} does not fit the run ({reason}): {anew}")
