"""Gradient accumulation: two micro-batches for each optimizer step, and what the memory sees of them.

`python examples/gradient_accumulation.py photos/train`. Needs `pip install ".[train]"` in the clone.
"""

import sys

import torch
from torch import nn
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder
from torchvision.models import mobilenet_v3_small
from torchvision.transforms import v2

from crossbatch import CrossBatchLoss, CrossBatchMemory, PKBatches, recommended

DIM, MICRO_BATCHES = 128, 2


def main(root: str, steps: int = 100, classes: int = 8) -> tuple[list[float], CrossBatchMemory]:
    """Return the loss of each optimizer step, and the memory."""
    torch.manual_seed(0)
    seen = [v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Normalize([0.5] * 3, [0.5] * 3)]
    photos = ImageFolder(root, v2.Compose([v2.RandomResizedCrop(64, (0.7, 1.0)), *seen]))
    batches = PKBatches(
        photos.targets, classes=min(classes, len(photos.classes)), images=4, steps=steps * MICRO_BATCHES
    )
    loader = iter(DataLoader(photos, batch_sampler=batches))
    model = mobilenet_v3_small()
    model.classifier = nn.Linear(576, DIM)
    memory = CrossBatchMemory(size=len(photos), dim=DIM)
    # The warm-up counts calls of the loss: micro-batches, not optimizer steps.
    loss_fn = CrossBatchLoss(recommended("contrastive"), memory, warmup_steps=steps // 2 * MICRO_BATCHES)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        total = 0.0
        for _ in range(MICRO_BATCHES):
            images, labels = next(loader)
            # Each call compares its micro-batch with the memory and then enqueues it. So the second micro-batch
            # meets the first in the memory. Their pairs count, though they share no forward pass; only the second
            # gets a gradient from them. The batch term sees one micro-batch at a time.
            loss = loss_fn(model(images), labels) / MICRO_BATCHES
            loss.backward()
            total += loss.item()
        optimizer.step()
        losses.append(total)
    return losses, memory


if __name__ == "__main__":
    losses, memory = main(sys.argv[1])
    print(f"loss {losses[0]:.3f} at first, {losses[-1]:.3f} at last; {len(memory)} rows in the memory")
