"""Every option of a training run, typed: the command line, the config file and the run folder share them."""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from jsonargparse import ArgumentError, ArgumentParser
from jsonargparse.typing import NonNegativeInt

from crossbatch.data import DATA_SETS, name_for
from crossbatch.data.augment import Augment
from crossbatch.data.split import Split
from crossbatch.errors import RunError, SettingError
from crossbatch.loss_names import CLASSES, RECOMMENDED, recommended_options
from crossbatch.training.option_names import with_class
from crossbatch.training.plain_values import made
from crossbatch.training.setting_groups import (
    BatchSettings,
    DriftSettings,
    LoopSettings,
    LossSettings,
    MemorySettings,
    ModelSettings,
    OptimSettings,
)

__all__ = [
    "BatchSettings",
    "DriftSettings",
    "LoopSettings",
    "LossSettings",
    "MemorySettings",
    "ModelSettings",
    "OptimSettings",
    "Settings",
]

# Trained weights move fast at first, and rows of that time are wrong; from scratch most of the motion is shared.
FRESH_TRAINED, FRESH_FROM_SCRATCH = 0.3, 0.7
MOST_IMAGES = 1_000_000  # in a batch
RATE_TRAINED = 1e-4  # a rate ten times as high destroys the features of trained weights


@dataclass(frozen=True)
class Settings:
    """All options of a training run.

    Args:
        root: Your images: a folder per class, or a table (.csv, .tsv, .parquet, .jsonl) with path,label[,role]; or
            where a published data set is.
        data: Data set: glyphs, folder, csv, sop, in_shop, vehicle_id, cub, cars, or the path of a function of your
            own; by default what ROOT is.
        fonts: A font file, or a folder with fonts in it, to draw glyphs from; once per place.
        script: Draw the characters of this script only, in a split of the size of SOP.
        loss: The pair loss: one of ours by name, or a class path; its options are --loss.NAME.
        recommended: Start from the recommended options of the loss; else from those of its paper.
        refit: Train on the validation classes too; nothing is tuned or stopped early.
        seed: Seed of weights, batches and augmentation.
        split: Division of the classes.
        augment: Random changes of the training images.
        batch: Shape of a batch.
        memory: The cross-batch memory.
        model: The network.
        optim: Optimizer and schedule.
        loop: Validation, precision, workers, loggers.
        drift: Measuring of drift.
    """

    root: Path | None = None
    data: str = ""  # by default chosen by what `root` is
    fonts: list[Path] = field(default_factory=list)
    script: Literal["han"] | None = None
    loss: LossSettings = field(default_factory=LossSettings)
    recommended: bool = True
    refit: bool = False
    seed: NonNegativeInt = 0
    split: Split = field(default_factory=Split)
    augment: Augment = field(default_factory=Augment)
    batch: BatchSettings = field(default_factory=BatchSettings)
    memory: MemorySettings = field(default_factory=MemorySettings)
    model: ModelSettings = field(default_factory=ModelSettings)
    optim: OptimSettings = field(default_factory=OptimSettings)
    loop: LoopSettings = field(default_factory=LoopSettings)
    drift: DriftSettings = field(default_factory=DriftSettings)

    def __post_init__(self) -> None:
        object.__setattr__(self, "data", self.data or name_for(self.root))

    def check(self) -> None:
        """Refuse options that contradict each other, before anything is read or written."""
        self._check_batch()
        if self.model.pretrained and self.model.weights is not None:
            raise SettingError(
                "--model.pretrained (also from a recipe) and --model.weights both say what to start from: leave the "
                "weights out, or give --model.pretrained false beside them"
            )
        dims, dim = list(self.model.dims), self.model.dim
        if dims and (dims != sorted(set(dims)) or dims[-1] != dim):
            raise SettingError(
                f"--model.dims ascend to --model.dim, got {dims} and {dim}: "
                f"give {sorted({length for length in dims if length < dim} | {dim})}"
            )
        if self.loop.accelerator == "mps":
            raise SettingError("--loop.accelerator mps lacks the float64 that ranking needs: give cpu")
        if self.optim.ema == 1:
            raise SettingError("--optim.ema 1 would keep the weights of the start: give less than 1, as 0.99")
        if (self.optim.schedule == "steps") != bool(self.optim.milestones):
            raise SettingError(
                f"--optim.milestones go with --optim.schedule steps: give both or neither, "
                f"got {self.optim.milestones} and {self.optim.schedule}"
            )

    def _check_batch(self) -> None:
        """Refuse a batch that is too large for any machine, a memory smaller than a batch, and two weights of 0."""
        batch = (self.batch.classes or 1) * self.batch.images  # at least one class, where their number is open
        if batch > MOST_IMAGES:
            raise SettingError(f"a batch of {batch:,} images fits nowhere: lower --batch.classes or --batch.images")
        if self.memory.size is not None and 0 < self.memory.size < batch:
            raise SettingError(
                f"a memory of {self.memory.size} rows is too small for batches of {batch} images: "
                f"raise --memory.size to at least {batch}, or set it to 0 to train without memory"
            )
        if self.memory.size != 0 and self.memory.weight == self.memory.batch_weight == 0:
            raise SettingError(
                "--memory.weight 0 and --memory.batch_weight 0 leave nothing to train by once the memory counts: "
                "raise one of them, or train without memory, --memory.size 0"
            )

    def resolved(self) -> "Settings":
        """The settings with defaults that depend on other options filled in, as the run folder keeps them.

        These are the recommended options of the loss, the pooling of the small network, whether BatchNorm is kept, and
        when rows are fresh.
        """
        pooling = self.model.pooling or ("grid" if self.model.backbone == "small" else None)
        settings = replace(self, model=replace(self.model, pooling=pooling, freeze_bn=self.model.keeps_bn))
        if self.memory.stale is None:
            settings = settings.fresh_at(FRESH_TRAINED if self.model.trained else FRESH_FROM_SCRATCH)
        if not self.recommended:
            return settings
        options = recommended_options(self.loss.name, self.loss.init_args)
        return replace(settings, loss=replace(self.loss, init_args=options), recommended=False)

    def fresh_at(self, stale: float) -> "Settings":
        """The settings with this limit for fresh rows of the memory, unless they have a limit."""
        return self if self.memory.stale is not None else replace(self, memory=replace(self.memory, stale=stale))

    def at_usual_rate(self, given: Mapping[str, Any], *, trained: bool = False) -> "Settings":
        """The settings with the learning rate for trained weights, if they start from such and `given` has no rate."""
        if "lr" in given.get("optim", {}) or not (trained or self.model.trained):
            return self
        return replace(self, optim=replace(self.optim, lr=RATE_TRAINED))

    def given_to(self, loss: str) -> dict[str, Any]:
        """The options that are given for a loss by name; none for a loss that is not the one of these settings."""
        return self.loss.init_args if loss == self.loss.name else {}

    def leaves_room_open(self, loss: str) -> bool:
        """Whether a loss has a recommended room, and neither another room nor the options of its paper are given."""
        return self.recommended and "room" in RECOMMENDED.get(loss, {}) and "room" not in self.given_to(loss)

    @property
    def name(self) -> str:
        """The name of the images in the default folder of a run: that of the root, else of the data set."""
        if self.root is None:
            return self.data
        return self.root.stem if self.root.is_file() else self.root.resolve().name

    @property
    def class_paths(self) -> list[str]:
        """Class paths outside this package that training with these settings imports."""
        data = None if self.data in DATA_SETS else self.data
        loss = None if self.loss.name in CLASSES else self.loss.class_path
        return [path for path in (data, loss, self.loop.logger) if path]

    @property
    def check_every(self) -> int:
        """Steps between two validations."""
        given = self.loop.check_every
        return int(min(max(self.optim.steps // 20, 1) if given is None else given, self.optim.steps))

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for YAML and JSON; paths are absolute, without `..` where that is the same place."""
        plain: dict[str, Any] = json.loads(json.dumps(asdict(self), default=_kept_path))
        return plain

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> "Settings":
        """The settings from the plain values of `as_dict`. Classes that they name are not imported."""
        options, parser = with_class(plain), ArgumentParser(exit_on_error=False)
        loss = options.pop("loss", {})
        parser.add_class_arguments(cls, skip={"loss"})
        try:
            return made(cls, {**parser.parse_object(options, defaults=False).as_dict(), "loss": loss})
        except (ArgumentError, TypeError) as error:
            told = f"config.yaml of the run does not fit this version ({error})"
            raise RunError(f"{told}: put it back as it was, or train anew") from error


def _kept_path(path: Path) -> str:
    """An absolute path without `..`, links as they are; with `..` if a link before it leads elsewhere."""
    whole = path.absolute()
    if ".." not in whole.parts:
        return str(whole)
    short = os.path.normpath(whole)
    return short if os.path.realpath(short) == os.path.realpath(whole) else str(whole)
