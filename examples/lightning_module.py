"""Use a memory in your own LightningModule; checkpoints keep it: `python examples/lightning_module.py photos/train`.

Needs `pip install ".[train]"` in the clone.
"""

import sys
import tempfile
from pathlib import Path

import lightning
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder
from torchvision.models import mobilenet_v3_small
from torchvision.transforms import v2

from crossbatch import CrossBatchLoss, CrossBatchMemory, PKBatches, recommended

DIM = 128


class Numbered(ImageFolder):
    """An image folder that also gives each image's index, so that an image is not compared with its own older row."""

    def __getitem__(self, index: int) -> tuple[Tensor, int, int]:
        return *super().__getitem__(index), index


class Learner(lightning.LightningModule):
    """A network and its loss. The loss is a submodule, so device moves and checkpoints include the memory."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.model = mobilenet_v3_small()
        self.model.classifier = nn.Linear(576, DIM)
        self.loss_fn = CrossBatchLoss(recommended("contrastive"), CrossBatchMemory(size, DIM), warmup_steps=50)

    def training_step(self, batch: tuple[Tensor, Tensor, Tensor], _: int) -> Tensor:
        """Embed the batch and return its loss. Lightning does the rest."""
        images, labels, ids = batch
        return self.loss_fn(self.model(images), labels, ids=ids)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Optimize the network, and parameters of the loss if it has any."""
        return torch.optim.AdamW(self.parameters(), lr=1e-3)


def main(root: str, steps: int = 100, classes: int = 16) -> tuple[CrossBatchMemory, CrossBatchMemory]:
    """Return the memory at the end of training, and the memory of a module restored from the checkpoint."""
    lightning.seed_everything(0, verbose=False)
    seen = [v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Normalize([0.5] * 3, [0.5] * 3)]
    photos = Numbered(root, v2.Compose([v2.RandomResizedCrop(64, (0.7, 1.0)), *seen]))
    batches = PKBatches(photos.targets, classes=min(classes, len(photos.classes)), images=4, steps=steps)
    loader = DataLoader(photos, batch_sampler=batches)
    learner = Learner(size=len(photos))
    trainer = lightning.Trainer(
        max_steps=steps,
        accelerator="auto",
        logger=False,
        enable_checkpointing=False,  # this example saves one checkpoint by hand
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(learner, loader)
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = Path(folder, "last.ckpt")
        trainer.save_checkpoint(checkpoint)
        restored = Learner.load_from_checkpoint(checkpoint, weights_only=True)
    return learner.loss_fn.memory, restored.loss_fn.memory


if __name__ == "__main__":
    trained, restored = main(sys.argv[1])
    print(f"{len(trained)} rows in the memory, {len(restored)} after a restore")
