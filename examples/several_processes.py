"""One memory for several processes: `torchrun --nproc-per-node 2 examples/several_processes.py`; alone too.

Needs `pip install "crossbatch[train]"`.
"""

import os

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

from crossbatch import ContrastiveLoss, CrossBatchLoss, CrossBatchMemory
from crossbatch.data import load
from crossbatch.data.augment import POLICIES
from crossbatch.data.augmentation import Augmentation
from crossbatch.data.batches import Reader, TrainingBatches
from crossbatch.data.pk_batches import PKBatches
from crossbatch.data.transforms import Preprocessing
from crossbatch.models.embedder import build

DIM = 128


def main(steps: int = 100) -> tuple[list[float], CrossBatchMemory]:
    """Return the loss of each step, and the memory, which is the same in every process."""
    if "WORLD_SIZE" in os.environ and not dist.is_initialized():  # torchrun has started this process
        dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    several = dist.is_initialized()
    rank, count = (dist.get_rank(), dist.get_world_size()) if several else (0, 1)
    device = torch.device("cuda", int(os.environ["LOCAL_RANK"])) if several and torch.cuda.is_available() else "cpu"
    torch.manual_seed(0)
    data = load("glyphs")
    preprocessing = Preprocessing(size=32, resize=32, channels=1, mean=(0.5,), std=(0.5,))
    batches = PKBatches(data.train.labels, classes=16, images=4, seed=0)  # of all processes together
    augmentation = Augmentation(preprocessing, POLICIES["drawn"])
    train = TrainingBatches(Reader(data.images), data.train, batches, augmentation, share=(rank, count))
    network = build("small", DIM, channels=1).to(device)
    model = DistributedDataParallel(network) if several else network
    memory = CrossBatchMemory(size=4096, dim=DIM)  # sharded=True keeps a share of the rows in each process
    loss_fn = CrossBatchLoss(ContrastiveLoss(), memory, warmup_steps=steps // 2).to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    losses = []
    for step in range(steps):
        images, labels, ids = (tensor.to(device) for tensor in train[step])
        loss = loss_fn(model(images), labels, ids=ids)  # gathers; the mean over the processes is the loss of all
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses, memory


if __name__ == "__main__":
    losses, memory = main()
    print(f"loss {losses[0]:.3f} at first, {losses[-1]:.3f} at last; {len(memory)} rows in the memory")
    if dist.is_initialized():
        dist.destroy_process_group()
