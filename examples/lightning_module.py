"""A memory in your own LightningModule, kept by its checkpoints: `python examples/lightning_module.py`.

Needs `pip install "crossbatch[train]"`.
"""

import tempfile
from pathlib import Path

import lightning
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from crossbatch import ContrastiveLoss, CrossBatchLoss, CrossBatchMemory
from crossbatch.data import load
from crossbatch.data.augment import POLICIES
from crossbatch.data.augmentation import Augmentation
from crossbatch.data.batches import Batch, Reader, TrainingBatches
from crossbatch.data.pk_batches import PKBatches
from crossbatch.data.transforms import Preprocessing
from crossbatch.models.embedder import build

DIM = 128


class Learner(lightning.LightningModule):
    """An embedder and its loss. The loss is a submodule, so device moves and checkpoints take the memory along."""

    def __init__(self) -> None:
        super().__init__()
        self.model = build("small", DIM, channels=1)
        self.loss_fn = CrossBatchLoss(ContrastiveLoss(), CrossBatchMemory(size=4096, dim=DIM), warmup_steps=50)

    def training_step(self, batch: Batch, _: int) -> Tensor:
        """Embed, then compare with the batch and the memory; Lightning does the rest."""
        images, labels, ids = batch
        return self.loss_fn(self.model(images), labels, ids=ids)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Step the model alone: this loss has no parameters."""
        return torch.optim.AdamW(self.model.parameters(), lr=1e-3)


def main(steps: int = 100) -> tuple[CrossBatchMemory, CrossBatchMemory]:
    """Return the memory at the end of training, and the memory of a module restored from the checkpoint."""
    lightning.seed_everything(0, verbose=False)
    data = load("glyphs")
    preprocessing = Preprocessing(size=32, resize=32, channels=1, mean=(0.5,), std=(0.5,))
    batches = PKBatches(data.train.labels, classes=16, images=4, seed=0)
    train = TrainingBatches(Reader(data.images), data.train, batches, Augmentation(preprocessing, POLICIES["drawn"]))
    loader = DataLoader(train, batch_size=None, sampler=range(steps))  # an item is a whole batch already
    learner = Learner()
    trainer = lightning.Trainer(
        max_steps=steps,
        logger=False,
        enable_checkpointing=False,  # this example saves by hand, once
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(learner, loader)
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = Path(folder, "last.ckpt")
        trainer.save_checkpoint(checkpoint)
        restored = Learner.load_from_checkpoint(checkpoint, weights_only=True)
    assert len(restored.loss_fn.memory) == len(learner.loss_fn.memory)
    return learner.loss_fn.memory, restored.loss_fn.memory


if __name__ == "__main__":
    trained, restored = main()
    print(f"{len(trained)} rows in the memory, {len(restored)} after a restore")
