"""Train in mixed precision with a memory of half the bytes: `python examples/mixed_precision.py photos/train`.

It uses float16 with gradient scaling on a GPU, and bfloat16, which needs no scaling, on a CPU.
Needs `pip install ".[train]"` in the clone.
"""

import sys

import torch
from torch import nn
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder
from torchvision.models import mobilenet_v3_small
from torchvision.transforms import v2

from crossbatch import CrossBatchLoss, CrossBatchMemory, PKBatches, recommended

DIM = 128


def main(root: str, steps: int = 60, classes: int = 16) -> tuple[list[float], CrossBatchMemory]:
    """Return the loss of each step, and the memory."""
    torch.manual_seed(0)
    device, dtype = ("cuda", torch.float16) if torch.cuda.is_available() else ("cpu", torch.bfloat16)
    seen = [v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Normalize([0.5] * 3, [0.5] * 3)]
    photos = ImageFolder(root, v2.Compose([v2.RandomResizedCrop(64, (0.7, 1.0)), *seen]))
    batches = PKBatches(photos.targets, classes=min(classes, len(photos.classes)), images=4, steps=steps)
    loader = DataLoader(photos, batch_sampler=batches)
    model = mobilenet_v3_small()
    model.classifier = nn.Linear(576, DIM)
    model.to(device)
    # `dtype` says how the memory stores its rows; autocast does not change it.
    memory = CrossBatchMemory(size=len(photos), dim=DIM, dtype=torch.bfloat16)
    loss_fn = CrossBatchLoss(recommended("contrastive"), memory, warmup_steps=steps // 2).to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    scaler = torch.amp.GradScaler(device, enabled=dtype == torch.float16)
    losses = []
    for images, labels in loader:
        with torch.autocast(device, dtype):
            # The loss can be inside autocast: it always compares in float32, the precision that a margin needs.
            loss = loss_fn(model(images.to(device)), labels.to(device))
        optimizer.zero_grad()
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        losses.append(loss.item())
    return losses, memory


if __name__ == "__main__":
    losses, memory = main(sys.argv[1])
    print(f"loss {losses[0]:.3f} at first, {losses[-1]:.3f} at last, the memory's term included")
    print(f"{len(memory)} rows in the memory, {memory.nbytes / 2**20:.1f} MiB in all")
