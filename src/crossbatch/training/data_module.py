"""The LightningDataModule: P×K batches by step, and the validation part in order."""

import lightning as L
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from crossbatch.data.batches import Batch, PartBatches, Reader, Shared, TrainingBatches
from crossbatch.data.data_set import DataSet, Part
from crossbatch.data.pk_batches import PKBatches, Steps
from crossbatch.data.transforms import Evenly, Preprocessing, Transform
from crossbatch.processes import Processes
from crossbatch.training.interrupt import leave_signals_to_the_run


class PKDataModule(L.LightningDataModule):
    """Feeds a run. The training loader has no state: it starts at the trainer's present step."""

    def __init__(
        self,
        data: DataSet,
        batches: PKBatches,
        preprocessing: Preprocessing,
        augmentation: Transform,
        reader: Reader,
        workers: int,
        *,
        pinned: bool = False,
    ) -> None:
        super().__init__()
        self.data, self.batches, self.workers, self.pinned = data, batches, workers, pinned
        self.evenly, self.augmentation, self.reader = Evenly(preprocessing), augmentation, reader

    def train_dataloader(self) -> DataLoader[Batch]:
        """An endless loader of one batch per step, or this process's share of it, from the trainer's step on."""
        return self.loader(
            self.training_batches(share=self._share()),
            sampler=Steps(lambda: self.trainer.global_step if self.trainer else 0),
        )

    def training_batches(self, variant: int = 0, share: tuple[int, int] = (0, 1)) -> TrainingBatches:
        """The batch of each step, or a share of it; another `variant` augments the same images differently."""
        source = self.reader, self.data.train, self.batches, self.augmentation
        return TrainingBatches(*source, variant=variant, share=share, copies=self.data.copies)

    def val_dataloader(self) -> DataLoader[Batch]:
        """A loader of the validation part in order, or of this process's share of it."""
        return self.loader(Shared(self.part(self.data.validation), *self._share()))

    def _share(self) -> tuple[int, int]:
        processes = Processes()
        return processes.rank, processes.count

    def part(self, part: Part, ids: Tensor | None = None) -> PartBatches:
        """A part of the data set as the network sees it in evaluation; `ids` in place of the part's own, if given."""
        return PartBatches(self.reader, part, self.evenly, ids=ids)

    def loader(
        self, batches: TrainingBatches | PartBatches | Shared, sampler: Steps | None = None
    ) -> DataLoader[Batch]:
        """A loader of these batches; the loader processes make them, if there are any."""
        return DataLoader(
            batches,
            batch_size=None,
            sampler=sampler,
            collate_fn=_as_it_is,  # type: ignore[arg-type]
            num_workers=self.workers,
            worker_init_fn=leave_signals_to_the_run,
            pin_memory=self.pinned,  # Lightning's transfers to CUDA are non-blocking only from pinned memory
            persistent_workers=self.workers > 0,
            generator=torch.Generator(),  # else each start draws from the generator that the network uses
        )


def _as_it_is(batch: Batch) -> Batch:
    """Return the batch unchanged: items are whole batches already."""
    return batch
