"""Two micro-batches for each optimizer step, and what the memory sees: `python examples/gradient_accumulation.py`.

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

DIM, MICRO_BATCHES = 128, 2


def main(steps: int = 100) -> tuple[list[float], CrossBatchMemory]:
    """Return the loss of each optimizer step, and the memory."""
    torch.manual_seed(0)
    data = load("glyphs")
    preprocessing = Preprocessing(size=32, resize=32, channels=1, mean=(0.5,), std=(0.5,))
    batches = PKBatches(data.train.labels, classes=8, images=4, seed=0)
    train = TrainingBatches(Reader(data.images), data.train, batches, Augmentation(preprocessing, POLICIES["drawn"]))
    model = build("small", DIM, channels=1)
    memory = CrossBatchMemory(size=4096, dim=DIM)
    # The warm-up counts calls of the loss, that is micro-batches, not optimizer steps.
    loss_fn = CrossBatchLoss(ContrastiveLoss(), memory, warmup_steps=steps // 2 * MICRO_BATCHES)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    losses = []
    for step in range(steps):
        optimizer.zero_grad()
        total = 0.0
        for part in range(MICRO_BATCHES):
            images, labels, ids = train[step * MICRO_BATCHES + part]
            # Each call enqueues its micro-batch, once, before it compares. So in the memory the second
            # micro-batch meets the rows of the first: their pairs count, though they never share a forward
            # pass, with gradient to the second alone. The batch term still sees one micro-batch at a time.
            loss = loss_fn(model(images), labels, ids=ids) / MICRO_BATCHES
            loss.backward()
            total += loss.item()
        optimizer.step()
        losses.append(total)
    return losses, memory


if __name__ == "__main__":
    losses, memory = main()
    print(
        f"loss {losses[0]:.3f} at first, {losses[-1]:.3f} at last, the memory's term included; {len(memory)} rows in it"
    )
