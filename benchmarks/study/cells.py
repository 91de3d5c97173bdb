"""What the study compares: data sets, losses and hostile conditions, each without and with memory."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from benchmarks.grocery import disjoint
from crossbatch.data.records import DataSet, Part
from crossbatch.training.settings import (
    BatchSettings,
    LoopSettings,
    MemorySettings,
    ModelSettings,
    OptimSettings,
    Settings,
)

LOSSES = ("contrastive", "multi-similarity", "triplet")
WITHOUT, WITH, NAIVE = "without", "with", "naive"
DEFAULT = "as by default"
SETTINGS = {
    "glyphs": Settings(),
    "hanzi": Settings(script="han"),
    "emoji": Settings(data="folder", model=ModelSettings(image_size=32)),
    "grocery": Settings(
        data="csv",
        batch=BatchSettings(8, 4),
        model=ModelSettings("tf_efficientnet_lite0", image_size=128, train_stages=3, freeze_bn=True),
        optim=OptimSettings(steps=300, warmup=20),
    ),
}
RATES = {"glyphs": (0.001, 0.003, 0.01), "hanzi": (0.001, 0.003, 0.01), "emoji": (0.001, 0.003, 0.01)}
RATES["grocery"] = (0.00003, 0.0001, 0.0003)


@dataclass(frozen=True)
class Cell:
    """One comparison: a data set, a loss, and what is made hard, if anything is."""

    part: str  # of the study: a, b, …
    data: str
    loss: str
    condition: str = DEFAULT

    def settings(self, plain: Settings, arm: str, seed: int, lr: float) -> Settings:
        """Of one run: those of the data set, but for what the condition changes and what an arm is."""
        optim = replace(plain.optim, lr=lr)
        batch, options = plain.batch, dict[str, int | float | str]()
        if self.condition == "learning rate × 5":
            optim = replace(optim, lr=optim.lr * 5)
        if self.condition == "no warm-up":
            optim = replace(optim, warmup=0)
        if self.condition == "batch of 16":
            batch = BatchSettings(4, 4)
        memory = MemorySettings(size=0 if arm == WITHOUT else None)
        if arm == NAIVE:  # as the authors' code: a sum over all pairs from step 1,000, nothing filled
            memory = MemorySettings(start=min(1000, optim.steps // 2), fill=False)
            options = {"reduction": "sum", "pos_margin": 1.0}
        loop = LoopSettings(check_every=max(1, optim.steps // 10))
        return replace(
            plain, loss=self.loss, loss_options=options, seed=seed, optim=optim, batch=batch, memory=memory, loop=loop
        )

    def spoil(self, loaded: DataSet) -> DataSet:
        """The data set with what the condition does to its training part."""
        train, draw = loaded.train, torch.Generator().manual_seed(0)
        if self.condition == "imbalanced classes":
            return replace(loaded, train=_imbalanced(train, draw))
        if self.condition == "10 % wrong labels":
            wrong = torch.rand(len(train), generator=draw) < 0.1
            others = train.labels[torch.randperm(len(train), generator=draw)]
            return replace(loaded, train=Part(torch.where(wrong, others, train.labels), train.ids))
        return loaded


def _imbalanced(train: Part, draw: torch.Generator) -> Part:
    """Of each class 1 ÷ rank of its images, the classes ranked by lot in tens; two at least."""
    classes = train.labels.unique()
    kept = []
    for rank, label in enumerate(classes[torch.randperm(len(classes), generator=draw)].tolist()):
        places = (train.labels == label).nonzero()[:, 0]
        kept.append(places[: max(2, len(places) // (1 + rank % 10))])
    order = torch.cat(kept).sort().values
    return Part(train.labels[order], train.ids[order])


HOSTILE = ("learning rate × 5", "batch of 16", "no warm-up", "imbalanced classes", "10 % wrong labels")


def cells(parts: str) -> Iterator[Cell]:
    """The cells of these parts of the study, in their order of priority."""
    if "a" in parts:
        yield from (Cell("a", data, loss) for data in SETTINGS for loss in LOSSES)
    if "b" in parts:
        yield from (Cell("b", "glyphs", "contrastive", condition) for condition in HOSTILE)


def arms(cell: Cell) -> tuple[str, ...]:
    """Without and with memory; and, on glyphs, the memory as the authors' code has it."""
    naive = cell.data == "glyphs" and cell.loss == "contrastive" and cell.part == "a"
    return (WITHOUT, WITH, NAIVE) if naive else (WITHOUT, WITH)


def grocery_listing(root: Path, out: Path) -> Path:
    """The disjoint classes of the grocery benchmark, as a table for `--data csv`."""
    listing = out / "grocery.csv"
    lines = (f"{path.absolute()},{label},{role}\n" for path, label, role in disjoint(root))
    listing.write_text("path,label,role\n" + "".join(lines))
    return listing
