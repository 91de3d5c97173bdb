"""What the study compares: data sets, losses, conditions and arms, and which of them meet."""

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
# Losses with recommended room, beside contrastive and triplet.
MADE_ROOM = ("lifted-structure", "n-pair", "nt-xent", "sup-con", "nca")
LONGER = "without, a fifth more steps"
OWN_TOO = "own batch included"  # in the memory's term, and every anchor
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
    """Batches of so many images, in as many steps or with as many images seen."""

    def change(plain: Settings) -> Settings:
        usual = (plain.batch.classes or 16) * plain.batch.images
        steps = plain.optim.steps * usual // images if equal_images else plain.optim.steps
        batch = BatchSettings(images // plain.batch.images, plain.batch.images)
        return replace(plain, batch=batch, optim=replace(plain.optim, steps=steps))

    return change


def _summed(plain: Settings) -> Settings:
    """As the authors' code: a sum over all pairs from step 1,000 on, positives pulled until they coincide."""
    memory = replace(plain.memory, start=min(1000, plain.optim.steps // 2), fill=False, earlier_only=False)
    return replace(plain, memory=memory, loss=replace(plain.loss, init_args={"reduction": "sum"}), recommended=False)


def _as_it_was(settings: Settings) -> Settings:
    """With the defaults of the study: a memory from a fifth of the steps on that follows nothing, the paper's crop."""
    start = settings.optim.steps // 5 if settings.memory.start is None else settings.memory.start
    pooling = "avg" if settings.model.backbone == "small" else None
    return replace(
        settings,
        memory=replace(settings.memory, start=start, follow=False),
        model=replace(settings.model, pooling=pooling),
        augment=Augment("drawn" if settings.data == "glyphs" else "paper"),
    )


def _published(plain: Settings) -> Settings:
    """As their papers have them."""
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
SIZES = (16, 32, 64, 128, 256)  # of a batch, in part d
USUAL = 64
CONDITIONS: dict[str, Change] = {
    DEFAULT: _same,
    "learning rate × 5": lambda plain: replace(plain, optim=replace(plain.optim, lr=plain.optim.lr * 5)),
    SMALL_BATCH: _batch(16),
    "no warm-up of the learning rate": lambda plain: replace(plain, optim=replace(plain.optim, warmup=0)),
    "imbalanced classes": _same,  # the data are changed instead
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
    """One comparison: a data set, a loss, what is made hard or other, and arms of which the first is the baseline."""

    part: str  # of the study: a, b, …
    data: str
    loss: str
    condition: str = DEFAULT
    arms: tuple[str, ...] = (WITHOUT, WITH)
    seeds: int = 3

    @property
    def searched(self) -> tuple[str, str]:
        """The two arms whose learning rates are searched, alike; every other takes that of the second."""
        pairs = (NAIVE_WITHOUT, NAIVE), (PUBLISHED_WITHOUT, PUBLISHED)
        return next((pair for pair in pairs if pair[1] in self.arms), (WITHOUT, WITH))

    def settings(self, plain: Settings, images: int, arm: str, seed: int, lr: float) -> Settings:
        """Of one run on so many training images: what the condition and the arm make of those of the data set."""
        plain = replace(plain, loss=LossSettings.named(self.loss), seed=seed, optim=replace(plain.optim, lr=lr))
        plain = CONDITIONS[self.condition](plain)
        change = _memory(size=round(RATIOS[arm] * images)) if arm in RATIOS else (ARMS | OTHERS)[arm]
        return _as_it_was(replace(change(plain), loop=LoopSettings(check_every=max(1, plain.optim.steps // 10))))

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
    """Of each class 1 ÷ rank of its images, the classes ranked by lot in tens; two at least.

    P×K batches draw classes alike, however few their images: what is scarce is images, most classes having two.
    """
    classes = train.labels.unique()
    kept = []
    for rank, label in enumerate(classes[torch.randperm(len(classes), generator=draw)].tolist()):
        places = (train.labels == label).nonzero()[:, 0]
        kept.append(places[: max(2, len(places) // (1 + rank % 10))])
    order = torch.cat(kept).sort().values
    return Part(train.labels[order], train.ids[order])


def cells(parts: str) -> Iterator[Cell]:
    """The cells of these parts of the study, in their order of priority."""
    glyphs = Cell("b", "glyphs", "contrastive")
    sizes = [*EQUAL_STEPS.values(), *EQUAL_IMAGES.values()]
    of_part = {
        "a": [Cell("a", data, loss) for data in SETTINGS for loss in LOSSES],
        "b": [
            replace(glyphs, arms=(NAIVE_WITHOUT, NAIVE)),
            *(replace(glyphs, condition=condition) for condition in HOSTILE),
            replace(glyphs, arms=(WITHOUT, "from step 0")),
        ],
        # On hanzi a memory fills in 930 steps, on glyphs in 162.
        "c": [Cell("c", data, "contrastive", arms=(WITH, *OTHERS), seeds=1) for data in ("hanzi", "glyphs")],
        # Of a run with memory, a step takes a fifth longer.
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
    """The disjoint classes of the grocery benchmark, as a table for `--data csv`."""
    listing = out / "grocery.csv"
    lines = (f"{path.absolute()},{label},{role}\n" for path, label, role in disjoint(root))
    listing.write_text("path,label,role\n" + "".join(lines))
    return listing
