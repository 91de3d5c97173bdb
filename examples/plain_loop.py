"""A plain PyTorch loop with a cross-batch memory: `python examples/plain_loop.py`.

Trains on characters drawn from fonts and searches among characters of classes that were never trained on.
Needs `pip install "crossbatch[train]"`.
"""

import torch
from torch import nn

from crossbatch import ContrastiveLoss, CrossBatchLoss, CrossBatchMemory
from crossbatch.data import load
from crossbatch.data.augment import POLICIES
from crossbatch.data.augmentation import Augmentation
from crossbatch.data.batches import PartBatches, Reader, TrainingBatches
from crossbatch.data.pk_batches import PKBatches
from crossbatch.data.transforms import Evenly, Preprocessing
from crossbatch.metrics import evaluate
from crossbatch.models.embedder import build

DIM = 128


@torch.no_grad()
def recall_at_1(model: nn.Module, batches: PartBatches) -> float:
    model.eval()
    parts = [(model(images), labels, ids) for images, labels, ids in batches]
    model.train()
    embeddings, labels, ids = (torch.cat(column) for column in zip(*parts, strict=True))
    return evaluate(embeddings, labels, ids, embeddings, labels, ids).recall[1]


def main(steps: int = 1000) -> tuple[float, float, int]:
    """Return R@1 on validation classes before and after training, and the rows in the memory."""
    torch.manual_seed(0)
    data = load("glyphs")
    reader = Reader(data.images)
    preprocessing = Preprocessing(size=32, resize=32, channels=1, mean=(0.5,), std=(0.5,))
    batches = PKBatches(data.train.labels, classes=8, images=2, seed=0)
    train = TrainingBatches(reader, data.train, batches, Augmentation(preprocessing, POLICIES["drawn"]))
    validation = PartBatches(reader, data.validation, Evenly(preprocessing))
    model = build("small", DIM, channels=1)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    before = recall_at_1(model, validation)

    # Without a memory this would be `loss_fn = ContrastiveLoss()`, called as `loss_fn(embeddings, labels)`.
    # The warm-up is long because a network trained from scratch moves fast at first, and old rows mislead it.
    memory = CrossBatchMemory(size=4096, dim=DIM)  # 1: the embeddings of the last 256 batches
    loss_fn = CrossBatchLoss(ContrastiveLoss(), memory, warmup_steps=steps // 2)  # 2: the same loss, over both
    for step in range(steps):
        images, labels, ids = train[step]
        loss = loss_fn(model(images), labels, ids=ids)  # 3: with ids, an older copy of an image is not its positive
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()

    return before, recall_at_1(model, validation), len(memory)


if __name__ == "__main__":
    before, after, rows = main()
    print(f"R@1 on classes never trained on: {before:.3f} before, {after:.3f} after; {rows} rows in the memory")
