"""Train on pairs of texts with the same meaning, with a memory: `python examples/text_pairs.py`.

Here a pair is a made-up name and the same name misspelt. Yours can be questions and answers, or titles in two
languages. The names searched at the end are not trained on. Needs only torch.
"""

import random
import zlib

import torch
from torch import Tensor, nn

from crossbatch import CrossBatchLoss, CrossBatchMemory, recommended
from crossbatch.metrics import evaluate

BUCKETS, DIM, BATCH = 4096, 64, 32


def pairs(count: int) -> list[tuple[str, str]]:
    """Made-up names, each with a copy in which two letters are replaced."""
    lot = random.Random(0)
    syllables = [c + v for c in "bdfgklmnprstvz" for v in "aeiou"]
    names = {"".join(lot.choices(syllables, k=4)): None for _ in range(count)}

    def slip(name: str) -> str:
        for _ in range(2):
            place = lot.randrange(len(name))
            name = name[:place] + lot.choice("bdfgklmnprstvzaeiou") + name[place + 1 :]
        return name

    return [(name, slip(name)) for name in names]


class TrigramEncoder(nn.Module):
    """Texts → [texts, DIM]: the mean of a vector for each hashed trigram, then a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.bag, self.head = nn.EmbeddingBag(BUCKETS, 128), nn.Linear(128, DIM)

    def forward(self, texts: list[str]) -> Tensor:
        """Embed texts of any length."""
        padded = [f"  {text} " for text in texts]
        trigrams = [[zlib.crc32(t[i : i + 3].encode()) % BUCKETS for i in range(len(t) - 2)] for t in padded]
        offsets = torch.tensor([0, *map(len, trigrams[:-1])]).cumsum(0)
        return self.head(self.bag(torch.tensor([bucket for text in trigrams for bucket in text]), offsets))


@torch.no_grad()
def recall_at_1(model: nn.Module, searched: list[tuple[str, str]]) -> float:
    """How often the nearest of all first texts is the partner of a second text."""
    first, second = map(list, zip(*searched, strict=True))
    labels = torch.arange(len(searched))
    return evaluate(model(second), labels, gallery=model(first), gallery_labels=labels).recall[1]


def main(steps: int = 300, memory: bool = True) -> tuple[float, float]:
    """Return R@1 on pairs never trained on, before and after training."""
    torch.manual_seed(0)
    everything = pairs(3000)
    train, test = everything[:2000], everything[2000:]
    model = TrigramEncoder()
    loss_fn = recommended("nca")
    if memory:
        # A pair is a class of two texts, which are always in the same batch. So the positive of an anchor in the memory
        # is the row of its partner from an earlier batch. If the memory does not hold all texts, few anchors count.
        loss_fn = CrossBatchLoss(loss_fn, CrossBatchMemory(2 * len(train), DIM), warmup_steps=100)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    before = recall_at_1(model, test)
    for _ in range(steps):
        chosen = torch.randperm(len(train))[:BATCH]
        texts = [train[pair][side] for side in (0, 1) for pair in chosen]
        labels, ids = chosen.repeat(2), torch.cat([2 * chosen, 2 * chosen + 1])
        loss = loss_fn(model(texts), labels, ids=ids)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return before, recall_at_1(model, test)


if __name__ == "__main__":
    before, after = main()
    print(f"R@1 on pairs never trained on: {before:.3f} before, {after:.3f} after")
