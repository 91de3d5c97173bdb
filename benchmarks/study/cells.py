"""What the study compares: data sets, losses, conditions and arms, and the cells that combine them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from benchmarks.grocery import disjoint
from crossbatch import losses
from crossbatch.data.augment import Augment
from crossbatch.data.data_set import DataSet, Part
from crossbatch.training.settings import (
    BatchSettings,
    LoopSettings,
    LossSettings,
    ModelSettings,
    OptimSettings,
    Settings,
)

LOSSES = ("contrastive", "multi-similarity", "triplet")
WITHOUT, WITH = "without", "with"
NAIVE_WITHOUT, NAIVE = "the authors' sum, without", "the authors' sum, with"
PUBLISHED_WITHOUT, PUBLISHED = "as published, without", "as published, with"
# Losses whose recommended options set `room`, besides contrastive and triplet.
MADE_ROOM = ("lifted-structure", "n-pair", "nt-xent", "sup-con", "nca")
LONGER = "without, a fifth more steps"
OWN_TOO = "own batch included"  # the memory term also compares with the batch itself, and counts every anchor
DEFAULT, SMALL_BATCH, LONG = "as by default", "batch of 16", "6,000 steps"
SETTINGS = {
    "glyphs": Settings(),
    "hanzi": Settings(script="han"),
    "emoji": Settings(data="folder", model=ModelSettings(image_size=32)),
    "grocery": Settings(
        data="csv",
        batch=BatchSettings(8, 4),
        model=ModelSettings("tf_efficientnet_lite0", image_size=96, train_stages=3, freeze_bn=True),
        optim=OptimSettings(steps=200, warmup=20),
    ),
}
RATES = {"glyphs": (0.001, 0.003, 0.01), "hanzi": (0.001, 0.003, 0.01), "emoji": (0.001, 0.003, 0.01)}
RATES["grocery"] = (0.00003, 0.0001, 0.0003)
Change = Callable[[Settings], Settings]


def _memory(**changes: int | float | bool) -> Change:
    return lambda plain: replace(plain, memory=replace(plain.memory, **changes))  # type: ignore[arg-type]


def _batch(images: int, *, equal_images: bool = False) -> Change:
    """Change the batch to this many images, for the same number of steps or the same number of images seen."""

    def change(plain: Settings) -> Settings:
        usual = (plain.batch.classes or 16) * plain.batch.images
        steps = plain.optim.steps * usual // images if equal_images else plain.optim.steps
        batch = BatchSettings(images // plain.batch.images, plain.batch.images)
        return replace(plain, batch=batch, optim=replace(plain.optim, steps=steps))

    return change


def _summed(plain: Settings) -> Settings:
    """The authors' code: a sum over all pairs from step 1,000 on, with positives pulled until they coincide."""
    memory = replace(plain.memory, start=min(1000, plain.optim.steps // 2), fill=False, earlier_only=False)
    return replace(plain, memory=memory, loss=replace(plain.loss, init_args={"reduction": "sum"}), recommended=False)


def _study_defaults(settings: Settings) -> Settings:
    """Use the study's defaults: a memory from a fifth of the steps on, without following, and the paper's crop."""
    start = settings.optim.steps // 5 if settings.memory.start is None else settings.memory.start
    pooling = "avg" if settings.model.backbone == "small" else None
    return replace(
        settings,
        memory=replace(settings.memory, start=start, follow=False),
        model=replace(settings.model, pooling=pooling),
        augment=Augment("drawn" if settings.data == "glyphs" else "paper"),
    )


def _published(plain: Settings) -> Settings:
    """Use the losses as published, without the recommended options."""
    return replace(plain, recommended=False)


def _same(plain: Settings) -> Settings:
    return plain


ARMS: dict[str, Change] = {
    WITHOUT: _memory(size=0),
    WITH: _same,
    NAIVE_WITHOUT: lambda plain: _memory(size=0)(_summed(plain)),
    NAIVE: _summed,
    PUBLISHED_WITHOUT: lambda plain: _memory(size=0)(_published(plain)),
    PUBLISHED: _published,
    LONGER: lambda plain: replace(ARMS[WITHOUT](plain), optim=replace(plain.optim, steps=plain.optim.steps * 6 // 5)),
}
OTHERS: dict[str, Change] = {
    f"{WITH}, {OWN_TOO}": _memory(earlier_only=False),
    "from step 0": _memory(start=0),
    "from a twentieth of the steps": lambda plain: _memory(start=plain.optim.steps // 20)(plain),
    "from half of the steps": lambda plain: _memory(start=plain.optim.steps // 2)(plain),
    "not filled at the start": _memory(fill=False),
    "weight of 3": _memory(weight=3.0),
    "without the batch term": _memory(batch_weight=0.0),
}
RATIOS = {f"memory of {ratio:g} of the images": ratio for ratio in (0.01, 0.03, 0.1, 0.3)}
SIZES = (16, 32, 64, 128, 256)  # batch sizes of part d
USUAL = 64
CONDITIONS: dict[str, Change] = {
    DEFAULT: _same,
    "learning rate × 5": lambda plain: replace(plain, optim=replace(plain.optim, lr=plain.optim.lr * 5)),
    SMALL_BATCH: _batch(16),
    "no warm-up of the learning rate": lambda plain: replace(plain, optim=replace(plain.optim, warmup=0)),
    "imbalanced classes": _same,  # `Cell.spoil` changes the data instead
    "10 % wrong labels": _same,
}
HOSTILE = list(CONDITIONS)[1:]
EQUAL_STEPS = {size: f"batch of {size}, equal steps" for size in SIZES}
EQUAL_IMAGES = {size: f"batch of {size}, equal images" for size in SIZES if size != USUAL}
CONDITIONS[LONG] = lambda plain: replace(plain, optim=replace(plain.optim, steps=6000))
CONDITIONS |= {name: _batch(size) for size, name in EQUAL_STEPS.items()}
CONDITIONS |= {name: _batch(size, equal_images=True) for size, name in EQUAL_IMAGES.items()}


@dataclass(frozen=True)
class Cell:
    """One comparison: a data set, a loss, a condition, and arms that are compared with the first arm."""

    part: str  # of the study: a, b and so on
    data: str
    loss: str
    condition: str = DEFAULT
    arms: tuple[str, ...] = (WITHOUT, WITH)
    seeds: int = 3

    @property
    def searched(self) -> tuple[str, str]:
        """The two arms whose learning rates are searched. Every other arm takes the rate of the second one."""
        pairs = (NAIVE_WITHOUT, NAIVE), (PUBLISHED_WITHOUT, PUBLISHED)
        return next((pair for pair in pairs if pair[1] in self.arms), (WITHOUT, WITH))

    def settings(self, plain: Settings, images: int, arm: str, seed: int, lr: float) -> Settings:
        """The settings of one run with this many training images, after the changes of condition and arm."""
        plain = replace(plain, loss=LossSettings.named(self.loss), seed=seed, optim=replace(plain.optim, lr=lr))
        plain = CONDITIONS[self.condition](plain)
        change = _memory(size=round(RATIOS[arm] * images)) if arm in RATIOS else (ARMS | OTHERS)[arm]
        return _study_defaults(replace(change(plain), loop=LoopSettings(check_every=max(1, plain.optim.steps // 10))))

    def spoil(self, loaded: DataSet) -> DataSet:
        """Apply to the training part what the condition does to the data."""
        train, draw = loaded.train, torch.Generator().manual_seed(0)
        if self.condition == "imbalanced classes":
            return replace(loaded, train=_imbalanced(train, draw))
        if self.condition == "10 % wrong labels":
            wrong = torch.rand(len(train), generator=draw) < 0.1
            others = train.labels[torch.randperm(len(train), generator=draw)]
            return replace(loaded, train=Part(torch.where(wrong, others, train.labels), train.ids))
        return loaded


def _imbalanced(train: Part, draw: torch.Generator) -> Part:
    """Keep 1/r of the images of each class, with r from 1 to 10 in random order, but at least two.

    P×K batches draw all classes equally often, so the imbalance makes images scarce: most classes have only two left.
    """
    classes = train.labels.unique()
    kept = []
    for rank, label in enumerate(classes[torch.randperm(len(classes), generator=draw)].tolist()):
        places = (train.labels == label).nonzero()[:, 0]
        kept.append(places[: max(2, len(places) // (1 + rank % 10))])
    order = torch.cat(kept).sort().values
    return Part(train.labels[order], train.ids[order])


def cells(parts: str) -> Iterator[Cell]:
    """The cells of the given parts of the study, in order of priority."""
    glyphs = Cell("b", "glyphs", "contrastive")
    sizes = [*EQUAL_STEPS.values(), *EQUAL_IMAGES.values()]
    of_part = {
        "a": [Cell("a", data, loss) for data in SETTINGS for loss in LOSSES],
        "b": [
            replace(glyphs, arms=(NAIVE_WITHOUT, NAIVE)),
            *(replace(glyphs, condition=condition) for condition in HOSTILE),
            replace(glyphs, arms=(WITHOUT, "from step 0")),
        ],
        # The memory fills in 930 steps on hanzi and in 162 steps on glyphs.
        "c": [Cell("c", data, "contrastive", arms=(WITH, *OTHERS), seeds=1) for data in ("hanzi", "glyphs")],
        # A step with memory takes a fifth longer.
        "t": [Cell("t", "glyphs", loss, arms=(LONGER, WITH)) for loss in ("multi-similarity", "contrastive")],
        "d": [replace(glyphs, part="d", condition=name, seeds=1) for name in sizes],
        "f": [Cell("f", data, "contrastive", LONG, seeds=1) for data in ("glyphs", "hanzi")],
        "p": [
            Cell("p", data, loss, arms=(PUBLISHED_WITHOUT, PUBLISHED))
            for data, loss in [*((data, "triplet") for data in SETTINGS), *(("glyphs", loss) for loss in MADE_ROOM)]
        ],
        "l": [Cell("l", "glyphs", loss) for loss in losses.LOSSES if loss not in LOSSES],
        "e": [replace(glyphs, part="e", condition=SMALL_BATCH, arms=(WITHOUT, *RATIOS, WITH))],
    }
    for part, of_this in of_part.items():
        if part in parts:
            yield from of_this


def grocery_listing(root: Path, out: Path) -> Path:
    """Write the disjoint classes of the grocery benchmark as a CSV file for `--data csv`."""
    listing = out / "grocery.csv"
    lines = (f"{path.absolute()},{label},{role}\n" for path, label, role in disjoint(root))
    listing.write_text("path,label,role\n" + "".join(lines))
    return listing
