"""Train on a folder of photos with torchvision, a plain loop and a memory.

`python examples/imagefolder.py photos/train photos/test`. Each folder below these two is a class. The
classes in `photos/test` are not trained on; they are only searched.
Needs `pip install ".[train]"` in the clone. The first run downloads the weights of ResNet-18, 45 MB.
"""

import sys

import torch
from torch import nn
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder
from torchvision.models import resnet18
from torchvision.transforms import v2

from crossbatch import CrossBatchLoss, CrossBatchMemory, PKBatches, recommended
from crossbatch.metrics import evaluate

DIM = 128


class Numbered(ImageFolder):
    """An image folder that also gives each image's index, so that an image is not compared with its own older row."""

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int, int]:
        return *super().__getitem__(index), index


def main(
    train: str, test: str, steps: int = 500, classes: int = 16, side: int = 128, weights: str | None = "DEFAULT"
) -> float:
    """Train, and return R@1 on the classes of `test`."""
    torch.manual_seed(0)
    seen = [
        v2.ToImage(),
        v2.ToDtype(torch.float32, scale=True),
        v2.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
    ]
    photos = Numbered(train, v2.Compose([v2.RandomResizedCrop(side, (0.7, 1.0)), v2.RandomHorizontalFlip(), *seen]))
    classes = min(classes, len(photos.classes))
    batches = PKBatches(photos.targets, classes=classes, images=4, steps=steps)  # 4 images of each class
    loader = DataLoader(photos, batch_sampler=batches)
    model = resnet18(weights=weights)
    model.fc = nn.Linear(512, DIM)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-4)

    memory = CrossBatchMemory(size=len(photos), dim=DIM)  # 1
    loss_fn = CrossBatchLoss(recommended("sup-con"), memory, warmup_steps=3 * steps // 5)  # 2
    for images, labels, ids in loader:
        loss = loss_fn(model(images), labels, ids=ids)  # 3: without a memory, `recommended(…)(model(images), labels)`
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    model.eval()
    new = DataLoader(ImageFolder(test, v2.Compose([v2.Resize(side), v2.CenterCrop(side), *seen])), batch_size=64)
    with torch.no_grad():
        embeddings, found = zip(*((model(images), labels) for images, labels in new), strict=True)
    return evaluate(torch.cat(embeddings), torch.cat(found)).recall[1]


if __name__ == "__main__":
    print(f"R@1 on classes never trained on: {main(*sys.argv[1:3]):.3f}")
