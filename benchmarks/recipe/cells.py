"""The comparisons: named cells, each with a data set, a loss, a recipe, a length, and arms compared with the first."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from benchmarks.recipe.sets import SETS
from crossbatch.training.settings import BatchSettings, LossSettings, Settings

WITHOUT, WITH = "without", "with"
LOSSES = ("multi-similarity", "contrastive", "triplet", "sup-con")
BEST = "multi-similarity"  # the default loss of these cells; that of the library is sup-con
PEERS = tuple(
    f"peer {loss}, {size}"
    for loss in ("multi-similarity", "contrastive", "sup-con")
    for size in ("memory of 1,024", "memory of all")
)
PASS = 47_524 // 64  # steps of one pass over hanzi
Change = Callable[[Settings], Settings]


def _optim(**changes: object) -> Change:
    return lambda plain: replace(plain, optim=replace(plain.optim, **changes))  # type: ignore[arg-type]


def _head(times: float) -> Change:
    return lambda plain: replace(plain, optim=replace(plain.optim, head_lr=plain.optim.lr * times))


def _batch(images: int) -> Change:
    return lambda plain: replace(plain, batch=BatchSettings(images // plain.batch.images, plain.batch.images))


def _loss(**options: float) -> Change:
    return lambda plain: replace(plain, loss=LossSettings.named(plain.loss.name, **options))


def _from(share: float) -> Change:
    return lambda plain: replace(plain, memory=replace(plain.memory, start=round(share * plain.optim.steps)))


def _prefixes(plain: Settings) -> Settings:
    return replace(plain, model=replace(plain.model, dims=[32, 64, 128]))


AS_IS = "as by default"
RECIPES: dict[str, Change] = {
    AS_IS: lambda plain: plain,
    "adamw, decay 0.01": _optim(optimizer="adamw", weight_decay=0.01),
    "adamw, decay 0.1": _optim(optimizer="adamw", weight_decay=0.1),
    "average 0.99": _optim(ema=0.99),
    "average 0.998": _optim(ema=0.998),
    "head × 3": _head(3),
    "head × 10": _head(10),
    "head ÷ 3": _head(1 / 3),
    "cut at 32, 64, 128": _prefixes,
    "memory once fresh at 0.3": lambda plain: replace(plain, memory=replace(plain.memory, stale=0.3)),
    "memory from a tenth": _from(0.1),
    "memory from a fifth": _from(0.2),
    "bfloat16": lambda plain: replace(plain, loop=replace(plain.loop, precision="bf16-mixed")),
    "batch of 16": _batch(16),
    "batch of 64": _batch(64),
    "batch of 128": _batch(128),
    "batch of 256": _batch(256),
    "steepness 20": _loss(beta=20.0),
    "steepness 20, memory alone": lambda plain: plain,  # OF_MEMORY changes the loss of the memory term instead
    "steepness 10, memory alone": lambda plain: plain,
    "room 0.7": _loss(room=0.7),
    "room 0.7, memory alone": lambda plain: plain,
}
CHOSEN = (  # candidates for the default; the other recipes are conditions
    AS_IS,
    "adamw, decay 0.01",
    "adamw, decay 0.1",
    "average 0.99",
    "average 0.998",
    "head × 3",
    "head × 10",
    "head ÷ 3",
    "cut at 32, 64, 128",
    "bfloat16",
)
OF_MEMORY = {
    "steepness 20, memory alone": {"beta": 20.0},
    "steepness 10, memory alone": {"beta": 10.0},
    "room 0.7, memory alone": {"room": 0.7},
}


@dataclass(frozen=True)
class Cell:
    """One comparison. `searched`: steps of the runs with seed 0 that choose a rate for each arm from the same rates."""

    data: str
    loss: str = BEST
    recipe: str = AS_IS
    steps: int = 0
    arms: tuple[str, ...] = (WITHOUT, WITH)
    seeds: int = 3
    rates: tuple[float, ...] = ()
    searched: int = 0
    tested: bool = True  # whether test is searched; cells that choose a recipe use validation only
    checks: int = 20  # validations in a run
    timed: bool = False  # whether each other arm runs again for as long as the last arm takes

    def __post_init__(self) -> None:
        usual = SETS[self.data]
        object.__setattr__(self, "steps", self.steps or usual.steps)
        object.__setattr__(self, "rates", self.rates or usual.rates)
        object.__setattr__(self, "searched", min(self.searched or usual.steps, self.steps))

    def settings(self, plain: Settings, arm: str, seed: int, lr: float, steps: int) -> Settings:
        """The settings of one run."""
        optim = replace(plain.optim, lr=lr, steps=steps)
        plain = replace(plain, loss=LossSettings.named(self.loss), seed=seed, optim=optim)
        plain = RECIPES[self.recipe](plain)
        memory = plain.memory if arm == WITH else replace(plain.memory, size=0)
        loop = replace(plain.loop, check_every=max(1, steps // self.checks))
        return replace(plain, memory=memory, loop=loop)

    @property
    def runs(self) -> list[tuple[str, int, int]]:
        """Arm, number of runs and steps of everything that the cell trains if no run has a row yet."""
        planned = []
        for arm in self.arms:
            if len(self.rates) > 1:
                planned.append((arm, len(self.rates), self.searched))
            known = self.steps == self.searched and len(self.rates) > 1
            planned.append((arm, self.seeds - known, self.steps))
            if self.timed and arm != self.arms[-1]:
                planned.append((arm, self.seeds, self.steps))
        return planned


def _chosen(data: str, steps: int, rate: float) -> list[Cell]:
    """Cells that choose a recipe on validation with one seed, at half, one and two times the rate."""
    rates = (rate / 2, rate, rate * 2)
    return [Cell(data, recipe=one, steps=steps, arms=(WITH,), seeds=1, rates=rates, tested=False) for one in CHOSEN]


CELLS: dict[str, list[Cell]] = {
    **{
        f"recipe-{data}": _chosen(data, steps, rate)
        for data, steps, rate in (
            ("glyphs", 1000, 0.003),
            ("emoji", 500, 0.003),
            ("grocery", 200, 0.0003),
            ("fashion", 200, 0.0003),
        )
    },
    **{f"losses-{data}": [Cell(data, loss) for loss in LOSSES] for data in SETS},
    **{
        f"peer-{data}": [
            Cell(data, arms=PEERS, seeds=1, tested=False),
        ]
        for data in SETS
    },
    **{
        f"beside-{data}-{size}": [
            Cell(data, "sup-con", arms=(f"peer {loss}, memory of {size}", WITH), timed=True)
            for loss in ("multi-similarity", "contrastive", "sup-con")
        ]
        for data in SETS
        for size in ("1,024", "all")
    },
    **{f"time-{data}": [Cell(data, timed=True)] for data in SETS},
    "length-hanzi-2": [Cell("hanzi", steps=2 * PASS)],
    # Validating on 12,000 images takes as long as sixty steps, so there are fewer checks. Rates are searched at the
    # full length.
    **{
        f"length-hanzi-{passes}": [
            Cell("hanzi", loss, steps=passes * PASS, searched=passes * PASS, rates=(0.003, 0.01), checks=10)
            for loss in ("multi-similarity", "sup-con")
        ]
        for passes in (10, 30)
    },
    "start-hanzi-10": [
        Cell("hanzi", recipe=one, steps=10 * PASS, arms=(WITH,), seeds=1, rates=(0.003,), checks=10, tested=False)
        for one in ("memory from a tenth", "memory from a fifth")
    ],
    "length-glyphs": [Cell("glyphs", steps=steps) for steps in (500, 2000, 8000)],
    "length-fashion": [Cell("fashion", steps=steps) for steps in (250, 500, 2000)],
    # Whether the memory does harm on photographs: in short and long runs, at a suitable and an unsuitable rate.
    **{
        f"harm-fashion-{steps}": [
            Cell("fashion", loss, steps=steps, rates=(rate,), checks=4)
            for rate in (0.001, 0.0001)
            for loss in ("multi-similarity", "contrastive", "sup-con")
        ]
        for steps in (200, 500, 2000)
    },
    "batch-fashion": [
        Cell("fashion", "sup-con", recipe="batch of 16", steps=2000, searched=2000, rates=(0.0001, 0.0003), checks=5),
        Cell("fashion", "sup-con", recipe="batch of 64", steps=500, arms=(WITHOUT,), rates=(0.0001, 0.0003), checks=5),
    ],
    "batch-glyphs": [Cell("glyphs", recipe=f"batch of {images}", arms=(WITHOUT,)) for images in (128, 256)],
    **{
        f"hardness-{data}": [
            Cell(data, recipe=one, arms=arms, rates=(0.003,), seeds=3, tested=False, checks=5)
            for one, arms in (
                (AS_IS, (WITHOUT, WITH)),
                ("steepness 20", (WITHOUT, WITH)),
                ("room 0.7", (WITHOUT, WITH)),
                *((one, (WITH,)) for one in OF_MEMORY),
            )
        ]
        for data in ("emoji", "photos", "glyphs")
    },
}
