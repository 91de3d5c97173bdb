"""The callbacks of a run, which save the best and the last model, and measure time, drift and more."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import lightning as L
from lightning.pytorch.callbacks import EarlyStopping
from rich.console import Console

from crossbatch import runs
from crossbatch.training.checkpoints import BestModel, SaveLast
from crossbatch.training.diverged import StopDiverged
from crossbatch.training.drift_meters import DriftMeters
from crossbatch.training.fill_memory import FillMemory
from crossbatch.training.floor import Floor
from crossbatch.training.follow_network import FollowNetwork
from crossbatch.training.interrupt import Asked
from crossbatch.training.memory_start import MemoryStart
from crossbatch.training.progress_bar import ProgressBar
from crossbatch.training.run_parts import RunParts
from crossbatch.training.throughput import Throughput

MONITOR = "val/R@1"


@dataclass(frozen=True)
class Watchers:
    """The callbacks whose state the end of a run reads; None for those that the run does without."""

    throughput: Throughput
    best: BestModel | None
    last: SaveLast
    finite: StopDiverged
    floor: Floor
    begin: MemoryStart | None
    meters: DriftMeters | None

    def callbacks(
        self, parts: RunParts, run: Path, console: Console, resuming: Sequence[L.Callback]
    ) -> list[L.Callback]:
        """All callbacks in the order in which they act; those that save come last, and save the state of the others.

        `resuming`: further callbacks of a resumed run.
        """
        settings, following = parts.settings, parts.learner.following
        moved = self.meters.latest if self.meters else {}
        bar = ProgressBar(console, self.throughput, run.name, moved, self.floor)
        fill = FillMemory(lambda images, but: parts.feed.loader(parts.drawn(images, but)))
        patience = settings.loop.patience
        acting: list[L.Callback | None] = [
            self.finite,
            self.floor,
            FollowNetwork(parts, following) if following else None,
            self.begin,
            self.meters,
            fill if settings.memory.fill else None,
            self.throughput,
            bar,
            EarlyStopping(MONITOR, mode="max", patience=patience) if patience else None,
            *resuming,
            self.best,
            self.last,
        ]
        return [callback for callback in acting if callback is not None]


def watchers_of(parts: RunParts, run: Path, asked: Asked) -> Watchers:
    """The callbacks that the settings and the data ask for."""
    settings, folder = parts.settings, run / runs.CHECKPOINTS
    validates = len(parts.data.validation) and not settings.refit
    best = BestModel(dirpath=folder, filename=runs.BEST, monitor=MONITOR, mode="max", enable_version_counter=False)
    finite = StopDiverged(run, parts.data, parts.feed.batches)
    return Watchers(
        Throughput(),
        best if validates else None,
        SaveLast(folder / f"{runs.LAST}.ckpt", settings.check_every, asked, finite),
        finite,
        Floor(parts),
        MemoryStart(parts) if parts.memory is not None and settings.memory.start is None else None,
        DriftMeters(run, parts) if settings.drift.sample else None,
    )
