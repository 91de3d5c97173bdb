"""The LightningDataModule: P×K batches by step, and the validation part in order."""

import os

import lightning as L
import torch
from torch.utils.data import DataLoader

from crossbatch.data.images import Batch, PartBatches, Reader, TrainingBatches
from crossbatch.data.pk_batches import PKBatches, Steps
from crossbatch.data.records import DataSet, Part
from crossbatch.data.transforms import Evenly, Preprocessing, Transform


class PKDataModule(L.LightningDataModule):
    """Feeds a run. The loader has no state: it starts at whatever step the trainer is at."""

    def __init__(
        self,
        data: DataSet,
        batches: PKBatches,
        preprocessing: Preprocessing,
        augmentation: Transform,
        reader: Reader,
        workers: int,
    ) -> None:
        super().__init__()
        self.data, self.batches, self.workers = data, batches, workers
        self.evenly, self.augmentation, self.reader = Evenly(preprocessing), augmentation, reader

    def train_dataloader(self) -> DataLoader[Batch]:
        """One batch a step, from the trainer's step on, without end."""
        return self._loader(
            TrainingBatches(self.reader, self.data.train, self.batches, self.augmentation),
            sampler=Steps(lambda: self.trainer.global_step if self.trainer else 0),
        )

    def val_dataloader(self) -> DataLoader[Batch]:
        """The validation part, in order."""
        return self._loader(self.part(self.data.validation))

    def part(self, part: Part) -> PartBatches:
        """A part of the data set as the network sees it in evaluation."""
        return PartBatches(self.reader, part, self.evenly)

    def _loader(self, batches: TrainingBatches | PartBatches, sampler: Steps | None = None) -> DataLoader[Batch]:
        return DataLoader(
            batches,
            batch_size=None,
            sampler=sampler,
            collate_fn=_as_it_is,  # type: ignore[arg-type]
            num_workers=self.workers,
            pin_memory=torch.cuda.is_available(),
            persistent_workers=self.workers > 0,
        )


def _as_it_is(batch: Batch) -> Batch:
    """Items are whole batches already."""
    return batch


def share_cores(in_memory: bool, workers: int | None) -> tuple[int, int]:
    """Loader processes and torch threads that together take no more than the cores there are.

    Images in memory cost less than handing them between processes. On a GPU torch needs one thread; on a CPU the
    network needs most: one core in four reads files, none where there is one core only.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)
    if workers is None and (in_memory or cores == 1):
        workers = 0
    elif workers is None:
        workers = cores - 1 if torch.cuda.is_available() else max(1, cores // 4)
    return workers, max(1, cores - workers)
