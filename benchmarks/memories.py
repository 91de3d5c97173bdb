"""Memories to time losses against: random unit vectors, and embeddings of a trained model."""

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import torch
from rich.console import Console
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn.functional import normalize

from crossbatch.data.cache import cache_folder
from crossbatch.data.transforms import image_seed
from crossbatch.training.run_parts import build_parts
from crossbatch.training.settings import LoopSettings, LossSettings, MemorySettings, OptimSettings, Settings
from crossbatch.training.train import fit

CLASSES = 11_318  # training classes of SOP
TRAINED_STEPS = 1500


class Memory(NamedTuple):
    """A batch of anchors and the rows that it is compared with, all of unit length."""

    anchors: Tensor
    labels: Tensor
    rows: Tensor
    row_labels: Tensor


def random_unit(rows: int, dim: int, batch: int) -> Memory:
    """Random unit vectors: positives are as far as negatives, and no negative is above a margin of 0.5."""
    torch.manual_seed(0)
    row_labels = torch.arange(rows) % min(CLASSES, rows // 4)
    labels = torch.randperm(int(row_labels.max()) + 1)[: batch // 4].repeat_interleave(4)
    return Memory(normalize(torch.randn(batch, dim)), labels, normalize(torch.randn(rows, dim)), row_labels)


def near(rows: int, dim: int, batch: int, share: float) -> Memory:
    """Random unit vectors, pulled together until about this share of the negatives is above a cosine of 0.5."""
    memory = random_unit(rows, dim, batch)
    pole = normalize(torch.randn(1, dim))
    low, high = 0.0, 1.0
    for _ in range(20):  # bisect the strength of the pull towards a common pole
        middle = (low + high) / 2
        anchors, moved = (normalize((1 - middle) * part + middle * pole) for part in (memory.anchors, memory.rows))
        above = float((anchors @ moved[:4096].T > 0.5).float().mean())
        low, high = (middle, high) if above < share else (low, middle)
    return memory._replace(anchors=anchors, rows=moved)


def trained(rows: int, batch: int) -> Memory:
    """Glyphs embedded in 128 dimensions by the default network after a short training, with augmentation."""
    path = cache_folder() / f"benchmark-memory-{TRAINED_STEPS}-{rows}-{batch}.safetensors"
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file(_train(rows, batch)._asdict(), path)
    return Memory(**load_file(path))


def _train(rows: int, batch: int) -> Memory:
    settings = Settings(
        loss=LossSettings.named("multi-similarity"),
        memory=MemorySettings(size=0),
        optim=OptimSettings(steps=TRAINED_STEPS, lr=3e-3),
        loop=LoopSettings(check_every=TRAINED_STEPS),
    )
    parts = build_parts(settings)
    with TemporaryDirectory() as folder:
        fit(parts, Path(folder) / "run", Console())
    parts = replace(parts, learner=parts.learner.eval())
    part, augment = parts.data.train, parts.feed.augmentation

    def embed(places: Tensor, first: int) -> Tensor:
        seeds = [image_seed(0, first, position) for position in range(len(places))]
        views = parts.feed.reader.see(part.ids[places].tolist(), [augment.look(seed) for seed in seeds])
        with torch.no_grad():
            return parts.learner.embedder(augment([view for view in views if view is not None], seeds))

    places = torch.arange(rows) % len(part)
    embedded = [embed(chunk, number) for number, chunk in enumerate(places.split(512))]
    chosen = torch.from_numpy(parts.feed.batches[0]).repeat(-(-batch // parts.feed.batches.size))[:batch]
    return Memory(embed(chosen, -1), part.labels[chosen].clone(), torch.cat(embedded), part.labels[places].clone())
