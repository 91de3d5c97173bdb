"""One memory for several processes: `torchrun --nproc-per-node 2 examples/several_processes.py`.

It also runs in one process. The images are noisy patterns; replace them with yours.
"""

import os

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from crossbatch import ContrastiveLoss, CrossBatchLoss, CrossBatchMemory, PKBatches

CLASSES, EACH, DIM = 200, 10, 64


def main(steps: int = 100) -> tuple[list[float], CrossBatchMemory]:
    """Return the loss of each step, and the memory, which is the same in every process."""
    if "WORLD_SIZE" in os.environ and not dist.is_initialized():  # started by torchrun
        dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    several = dist.is_initialized()
    rank, count = (dist.get_rank(), dist.get_world_size()) if several else (0, 1)
    device = torch.device("cuda", int(os.environ["LOCAL_RANK"])) if several and torch.cuda.is_available() else "cpu"
    torch.manual_seed(0)
    labels = torch.arange(CLASSES).repeat_interleave(EACH)
    images = torch.randn(CLASSES, 3, 16, 16)[labels] + torch.randn(len(labels), 3, 16, 16)
    batches = PKBatches(labels, classes=16, images=4, seed=0, share=(rank, count))
    network = nn.Sequential(nn.Conv2d(3, 32, 3, 2), nn.ReLU(), nn.Flatten(), nn.Linear(32 * 49, DIM)).to(device)
    model = DistributedDataParallel(network) if several else network
    memory = CrossBatchMemory(size=1024, dim=DIM)  # sharded=True keeps a share of the rows in each process
    loss_fn = CrossBatchLoss(ContrastiveLoss(), memory, warmup_steps=steps // 5).to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    losses = []
    for step in range(steps):
        ids = torch.from_numpy(batches[step])  # the share of this process
        embeddings = model(images[ids].to(device))
        loss = loss_fn(embeddings, labels[ids].to(device), ids=ids.to(device))  # gathers the whole batch
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses, memory


if __name__ == "__main__":
    losses, memory = main()
    if not dist.is_initialized() or dist.get_rank() == 0:
        print(f"loss {losses[0]:.3f} at first, {losses[-1]:.3f} at last; {len(memory)} rows in the memory")
    if dist.is_initialized():
        dist.destroy_process_group()
