"""Mixed precision, and a memory of half the bytes: `python examples/amp.py`.

float16 with gradient scaling on a GPU; bfloat16, which needs no scaling, on a CPU.
Needs `pip install "crossbatch[train]"`.
"""

import torch

from crossbatch import ContrastiveLoss, CrossBatchLoss, CrossBatchMemory
from crossbatch.data import load
from crossbatch.data.augment import POLICIES
from crossbatch.data.augmentation import Augmentation
from crossbatch.data.batches import Reader, TrainingBatches
from crossbatch.data.pk_batches import PKBatches
from crossbatch.data.transforms import Preprocessing
from crossbatch.models.embedder import build

DIM = 128


def main(steps: int = 60) -> tuple[list[float], CrossBatchMemory]:
    """Return the loss of each step, and the memory."""
    torch.manual_seed(0)
    device, dtype = ("cuda", torch.float16) if torch.cuda.is_available() else ("cpu", torch.bfloat16)
    data = load("glyphs")
    preprocessing = Preprocessing(size=32, resize=32, channels=1, mean=(0.5,), std=(0.5,))
    batches = PKBatches(data.train.labels, classes=16, images=4, seed=0)
    train = TrainingBatches(Reader(data.images), data.train, batches, Augmentation(preprocessing, POLICIES["drawn"]))
    model = build("small", DIM, channels=1).to(device)
    # How the memory stores its rows is its own choice, whatever autocast says.
    memory = CrossBatchMemory(size=4096, dim=DIM, dtype=torch.bfloat16)
    loss_fn = CrossBatchLoss(ContrastiveLoss(), memory, warmup_steps=steps // 2).to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    scaler = torch.amp.GradScaler(device, enabled=dtype == torch.float16)
    losses = []
    for step in range(steps):
        images, labels, ids = (tensor.to(device) for tensor in train[step])
        with torch.autocast(device, dtype):
            # The loss may stand inside: it compares in float32 by itself, as a margin needs.
            loss = loss_fn(model(images), labels, ids=ids)
        optimizer.zero_grad()
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        losses.append(loss.item())
    return losses, memory


if __name__ == "__main__":
    losses, memory = main()
    print(f"loss {losses[0]:.3f} at first, {losses[-1]:.3f} at last, the memory's term included")
    print(f"{len(memory)} rows in the memory, {memory.nbytes / 2**20:.1f} MiB in all")
