"""A race of short runs on validation classes: it decides augmentation and `room`, which images alone do not tell."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from crossbatch import runs
from crossbatch.data.augment import Augment
from crossbatch.data.data_set import DataSet, Part, queries
from crossbatch.errors import DiskError
from crossbatch.launched import started
from crossbatch.loss_names import RECOMMENDED
from crossbatch.training.settings import Settings
from crossbatch.training.short_run import shortened, validated

STEPS = 100  # of a short run
WORTH = 10  # a race pays where the run has at least so many times the steps of a short run
IMAGES, QUERIES = 2_000, 200  # images of a short run's validation at most, and queries at least
AUGMENT, ROOM = "augment.policy", "loss.room"
RIVALS = {AUGMENT: "none", ROOM: 1.0}  # of the defaults
# A rival takes the place of the default if its R@1 is so much higher, and its errors are at most this share. Runs
# without augmentation lead early: on emoji by 5 points (0.91 × the errors), and end 1 behind. Room shows at once.
LEAD, ERRORS = 0.03, {AUGMENT: 0.85, ROOM: 0.95}


@dataclass(frozen=True)
class Race:
    """The outcome of a race, by the name of the option.

    `values`: values that take the place of the default. `results`: what the short runs measured.
    """

    values: dict[str, Any] = field(default_factory=dict)
    results: dict[str, str] = field(default_factory=dict)

    def applied(self, settings: Settings) -> Settings:
        """The settings with the values that won."""
        if AUGMENT in self.values:
            settings = replace(settings, augment=Augment(self.values[AUGMENT]))
        if ROOM in self.values:
            options = {**settings.loss.init_args, "room": self.values[ROOM]}
            settings = replace(settings, loss=replace(settings.loss, init_args=options))
        return settings

    def reasons(self, reasons: Mapping[str, str]) -> dict[str, str]:
        """The reasons for open options, each followed by the result of its short runs."""
        added = {name: f"{reasons[name]}; {result}" for name, result in self.results.items() if name in reasons}
        return {**reasons, **self.results, **added}


NO_RACE = Race()


def rivals_of(settings: Settings, loaded: DataSet) -> dict[str, Any]:
    """The rivals of the defaults that the user left open; none where short runs are not short beside the run."""
    alone = started() == 1 and settings.loop.devices in (None, 1)
    long = settings.optim.steps >= WORTH * STEPS
    if not settings.loop.race or not alone or not long or settings.model.trained:
        return {}
    return {option: value for option, value in RIVALS.items() if _undecided(option, settings, loaded)}


def race(settings: Settings, loaded: DataSet, console: Console, beside: Path) -> Race:
    """Decide augmentation and room, where the user left them open; short runs are kept in a folder beside `beside`.

    A short run without augmentation is compared with one with the default, then one with room 1 with one with the
    recommended room. Short runs have no memory, so both arms of a comparison decide alike. The default stays unless the
    other is clearly ahead. Nothing is decided in a run of few steps, in several processes, or from trained weights.
    """
    rivals = rivals_of(settings, loaded)
    validation = _sample(loaded.validation) if rivals else loaded.validation
    if not rivals or validation.classes < 2 or int(queries(validation).sum()) < QUERIES:
        return NO_RACE
    small = replace(loaded, validation=validation)
    names = " and ".join(f"--{option}" for option in rivals)
    console.print(f"race      short runs of {STEPS} steps decide {names}; --loop.race false leaves them out")
    values: dict[str, Any] = {}
    results: dict[str, str] = {}

    def scored(which: str, tried: Mapping[str, Any]) -> float:
        with console.status(f"short run with {which}"):  # a moving sign, in a terminal alone
            return validated(_short(Race({**values, **tried}).applied(settings)), small, beside)

    try:
        score = scored("the defaults", {})
        for option, value in rivals.items():
            of_rival = scored(f"--{option} {value}", {option: value})
            default = "auto" if option == AUGMENT else f"{RECOMMENDED[settings.loss.name]['room']:g}"
            wins = of_rival - score >= LEAD and 1 - of_rival <= ERRORS[option] * (1 - score)
            near = "" if wins or of_rival <= score else "; too near to change it"
            scores = f"{of_rival:.3f} with {value}, {score:.3f} with {default}"
            results[option] = f"R@1 on validation after {STEPS} steps: {scores}{near}"
            console.print(f"{'':10}--{option}: {results[option]}")
            if wins:
                values[option], score = value, of_rival
    except DiskError as error:
        console.print(f"{'':10}the defaults are taken, since a short run could not be written: {error}")
        return NO_RACE
    return Race(values, results)


def race_of(out: Path, settings: Settings, loaded: DataSet, console: Console, *, begun: bool) -> Race:
    """The race of the comparison in the folder `out`: run once, and read from there when the comparison has begun."""
    if begun:
        return Race(**runs.read_race(out))
    runs.refuse_used(out)  # before the short runs
    return race(settings, loaded, console, out)


def _undecided(option: str, settings: Settings, loaded: DataSet) -> bool:
    """Whether neither the user nor the data set decides the option, and for a room whether the loss has one."""
    if option == AUGMENT:
        return settings.augment == Augment() and loaded.policy == "auto"
    return settings.leaves_room_open(settings.loss.name)


def _short(settings: Settings) -> Settings:
    """A short run without memory, with one validation at its end."""
    loop = replace(settings.loop, check_every=STEPS, patience=0, logger=None, compile=False)
    memory = replace(settings.memory, size=0, start=None)
    return shortened(replace(settings, refit=False, memory=memory, loop=loop), STEPS)


def _sample(part: Part) -> Part:
    """Images of a part, drawn at random: at most `IMAGES`, of as many classes as have four images each."""
    if len(part) <= IMAGES:
        return part
    draw = torch.Generator().manual_seed(0)
    classes = part.labels.unique()
    classes = classes[torch.randperm(len(classes), generator=draw)[: IMAGES // 4]]
    each = IMAGES // len(classes)
    places = [(part.labels == label).nonzero()[:, 0] for label in classes]
    kept = torch.cat([place[torch.randperm(len(place), generator=draw)[:each]] for place in places])
    return Part(part.labels[kept], part.ids[kept])
