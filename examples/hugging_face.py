"""Train a timm model on a Hugging Face data set, with a memory: `python examples/hugging_face.py photos/train`.

`load_dataset` loads a data set of the hub in the same way. Needs `pip install datasets ".[train]"` in the clone.
The first run downloads the weights of ResNet-18, 45 MB.
"""

import sys

import timm
import torch
from datasets import load_dataset
from torch.utils.data import DataLoader

from crossbatch import CrossBatchLoss, CrossBatchMemory, PKBatches, recommended

DIM = 128


def main(
    root: str, steps: int = 500, classes: int = 16, backbone: str = "resnet18", pretrained: bool = True
) -> tuple[list[float], CrossBatchMemory]:
    """Return the loss of each step, and the memory."""
    torch.manual_seed(0)
    # Named files: from a folder alone, the library would take names with "test" in them for another split.
    photos = load_dataset("imagefolder", data_files={"train": f"{root}/**"}, split="train")  # columns: image, label
    model = timm.create_model(backbone, pretrained=pretrained, num_classes=DIM)
    augment = timm.data.create_transform(**timm.data.resolve_model_data_config(model), is_training=True, scale=(0.7, 1))

    def collate(rows: list[dict]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        images = torch.stack([augment(row["image"].convert("RGB")) for row in rows])
        return images, torch.tensor([row["label"] for row in rows]), torch.tensor([row["id"] for row in rows])

    labels = photos["label"]
    batches = PKBatches(labels, classes=min(classes, len(set(labels))), images=4, steps=steps)
    photos = photos.add_column("id", list(range(len(photos))))
    loader = DataLoader(photos, batch_sampler=batches, collate_fn=collate)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-4)

    memory = CrossBatchMemory(size=len(photos), dim=DIM)
    loss_fn = CrossBatchLoss(recommended("sup-con"), memory, warmup_steps=3 * steps // 5)
    losses = []
    for images, labels, ids in loader:
        loss = loss_fn(model(images), labels, ids=ids)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses, memory


if __name__ == "__main__":
    losses, memory = main(sys.argv[1])
    print(f"loss {losses[0]:.3f} at first, {losses[-1]:.3f} at last; {len(memory)} rows in the memory")
