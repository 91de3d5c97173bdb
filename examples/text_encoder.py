"""A memory for an encoder that sees no images, misspelt words: `python examples/text_encoder.py`.

Class: a word. Instance: one way of misspelling it. The words searched in the end were never trained on.
"""

import zlib

import numpy as np
import torch
from torch import Tensor, nn

from crossbatch import CrossBatchLoss, CrossBatchMemory, MultiSimilarityLoss
from crossbatch.data.pk_batches import PKBatches
from crossbatch.metrics import evaluate

BUCKETS, DIM = 4096, 64
LETTERS = np.array(list("abcdefghijklmnopqrstuvwxyz"))


def words(n: int, rng: np.random.Generator) -> list[str]:
    """Made-up words of three or four syllables, all different."""
    syllables = [c + v for c in "bdfgklmnprstvz" for v in "aeiou"]
    made: dict[str, None] = {}
    while len(made) < n:
        made["".join(rng.choice(syllables, rng.integers(3, 5)))] = None
    return list(made)


def misspell(word: str, rng: np.random.Generator) -> str:
    """Two slips of the finger: a letter replaced, left out, doubled, or swapped with the next."""
    for _ in range(2):
        i = int(rng.integers(len(word) - 1))
        a, b = word[i], word[i + 1]
        slip = rng.choice([str(rng.choice(LETTERS)) + b, b, a + a + b, b + a])
        word = word[:i] + str(slip) + word[i + 2 :]
    return word


class TrigramEncoder(nn.Module):
    """Words → [words, DIM]: the mean of a vector for each hashed trigram, then a linear layer."""

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
def recall_at_1(model: nn.Module, texts: list[str], labels: Tensor) -> float:
    embeddings, ids = nn.functional.normalize(model(texts)), torch.arange(len(texts))
    return evaluate(embeddings, labels, ids, embeddings, labels, ids).recall[1]


def main(steps: int = 300) -> tuple[float, float]:
    """Return R@1 on words never trained on, before and after training."""
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    texts = [misspell(word, rng) for word in words(1500, rng) for _ in range(6)]
    labels = torch.arange(1500).repeat_interleave(6)
    train, test = slice(0, 6000), slice(6000, 9000)  # whole words
    batches = PKBatches(labels[train], classes=16, images=4, seed=0)
    model = TrigramEncoder()
    loss_fn = CrossBatchLoss(MultiSimilarityLoss(), CrossBatchMemory(size=4096, dim=DIM))
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    before = recall_at_1(model, texts[test], labels[test])
    for step in range(steps):
        ids = torch.from_numpy(batches[step])
        loss = loss_fn(model([texts[i] for i in ids]), labels[ids], ids=ids)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return before, recall_at_1(model, texts[test], labels[test])


if __name__ == "__main__":
    before, after = main()
    print(f"R@1 on words never trained on: {before:.3f} before, {after:.3f} after")
