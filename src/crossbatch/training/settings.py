"""Every option of a training run, typed: the command line, the config file and the run folder share them."""

from copy import deepcopy
from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, Literal

from crossbatch.data.split import Split
from crossbatch.errors import RunError, SettingError
from crossbatch.losses import LOSSES, recommended_options
from crossbatch.models.pooling import Pooling

OPEN_AGE = 100  # steps; with --memory.max_drift, rows this old must be fresh enough before the memory counts


@dataclass(frozen=True)
class BatchSettings:
    """A batch is P classes with K images each.

    Args:
        classes: Classes in a batch (P).
        images: Images of each class (K); drawn with replacement where a class has fewer.
    """

    classes: int = 16
    images: int = 4


@dataclass(frozen=True)
class MemorySettings:
    """The cross-batch memory.

    Args:
        size: Rows; by default as many as training images. 0 trains without memory.
        start: Step from which the memory counts, by default a fifth of the steps; before it, the batch alone trains.
        max_drift: In place of a step, the memory counts once images move less than this in 100 steps (mean squared
            distance of a sample of unit vectors, see --drift.sample); 0 goes by the step.
        limit_age: With --memory.max_drift, rows so old that they have moved by more do not count.
        weight: Weight of the memory term.
        batch_weight: Weight of the batch term once the memory counts.
        dtype: How rows are stored.
        fill: Whether to fill what is empty of the memory, when it starts, with randomly drawn training images.
        earlier_only: Whether an anchor is compared with the rows of earlier batches alone, and only where these hold a
            positive of it; else with those of its own batch too, as in the authors' code.
    """

    size: int | None = None
    start: int | None = None
    max_drift: float = 0.0
    limit_age: bool = True
    weight: float = 1.0
    batch_weight: float = 1.0
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    fill: bool = True
    earlier_only: bool = True


@dataclass(frozen=True)
class ModelSettings:
    """The network.

    Args:
        backbone: Our `small` network, googlenet, bn_inception, or any timm model by name (resnet50.tv_in1k has the
            weights of the paper's time).
        dim: Length of an embedding.
        pretrained: Start the backbone from its published weights; needs a network once.
        image_size: Side of the square that the network sees, in pixels; by default the data set's or the backbone's.
        pooling: How the last feature maps become one vector: avg, max or gem; by default as the backbone was made to.
        freeze_bn: Keep the BatchNorm layers of the backbone as they are: statistics, scale and shift.
        train_stages: Train so many last stages of the backbone, and the head; 0 trains the head alone; by default all.
        weights: File to start the backbone from: .safetensors, or .pth, .pt, .bin, of which no code is run.
    """

    backbone: str = "small"
    dim: int = 128
    pretrained: bool = False
    image_size: int | None = None
    pooling: Pooling | None = None
    freeze_bn: bool = False
    train_stages: int | None = None
    weights: Path | None = None

    def check(self) -> None:
        """Refuse what contradicts itself."""
        if self.pretrained and self.weights is not None:
            raise SettingError("--model.pretrained and --model.weights both say what to start from: give one of them")
        if self.train_stages is not None and self.train_stages < 0:
            raise SettingError(f"--model.train_stages must not be negative, got {self.train_stages}")


@dataclass(frozen=True)
class OptimSettings:
    """Adam and its schedule.

    Args:
        steps: Training steps.
        lr: Learning rate after its warm-up.
        weight_decay: L2 penalty.
        warmup: Steps over which the learning rate rises from 0.
        schedule: What follows: a cosine down to 0, constant, or a tenth of it from each milestone on.
        milestones: Steps at which the schedule `steps` divides the learning rate by ten.
        clip: Largest gradient norm; 0 does not clip.
    """

    steps: int = 2000
    lr: float = 1e-3
    weight_decay: float = 1e-4
    warmup: int = 50
    schedule: Literal["cosine", "constant", "steps"] = "cosine"
    milestones: list[int] = field(default_factory=list)
    clip: float = 1.0


@dataclass(frozen=True)
class LoopSettings:
    """How the run goes about it.

    Args:
        check_every: Steps between two looks at the validation classes; by default a twentieth of the steps.
        patience: Stop after so many looks without a better R@1; 0 never stops early.
        precision: Lightning's: 32-true, bf16-mixed or 16-mixed.
        accelerator: Lightning's: auto, cpu, gpu, mps …
        workers: Processes that read images; by default none on a CPU, where reading and training take turns on all
            cores, and beside a GPU all cores but one.
        logger: Class path of a further Lightning logger, beside CSV and TensorBoard.
        on_corrupt: An image that cannot be read is named, and then refused or skipped.
    """

    check_every: int | None = None
    patience: int = 0
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "32-true"
    accelerator: str = "auto"
    workers: int | None = None
    logger: str | None = None
    on_corrupt: Literal["refuse", "skip"] = "refuse"


@dataclass(frozen=True)
class DriftSettings:
    """How drift is measured while training.

    Args:
        sample: Training images that are embedded again every 100 steps, twice; 0 measures nothing.
    """

    sample: int = 128


@dataclass(frozen=True)
class Settings:
    """All options of a training run.

    Args:
        data: Data set: glyphs (embedded), folder (one folder of images per class), csv (path,label,role), or a
            published one: sop, in_shop, vehicle_id, cub or cars.
        root: Where the data set is; glyphs are drawn.
        fonts: Font files, or folders with fonts in them, to draw glyphs from in place of the embedded ones.
        script: Draw the characters of this script only, in a split of the size of SOP.
        loss: Pair loss, by name: contrastive, triplet, multi-similarity, binomial-deviance, lifted-structure, n-pair,
            nt-xent, sup-con, nca, circle or margin; or the class path of your own.
        loss_options: Parameters of the loss by name, such as neg_margin or room.
        recommended: Start from the recommended options of the loss; else from those of its paper.
        refit: Train on all training classes, validation classes included; nothing is tuned or stopped early.
        seed: Seed of weights, batches and augmentation.
        split: Division of the classes.
        batch: Shape of a batch.
        memory: The cross-batch memory.
        model: The network.
        optim: Optimizer and schedule.
        loop: Validation, precision, workers, loggers.
        drift: Measuring of drift.
    """

    data: str = "glyphs"
    root: Path | None = None
    fonts: list[Path] = field(default_factory=list)
    script: Literal["han"] | None = None
    loss: str = "contrastive"
    loss_options: dict[str, int | float | str | None] = field(default_factory=dict)
    recommended: bool = True
    refit: bool = False
    seed: int = 0
    split: Split = field(default_factory=Split)
    batch: BatchSettings = field(default_factory=BatchSettings)
    memory: MemorySettings = field(default_factory=MemorySettings)
    model: ModelSettings = field(default_factory=ModelSettings)
    optim: OptimSettings = field(default_factory=OptimSettings)
    loop: LoopSettings = field(default_factory=LoopSettings)
    drift: DriftSettings = field(default_factory=DriftSettings)

    def check(self) -> None:
        """Refuse what cannot work, before anything is read or written."""
        if self.loss not in LOSSES and "." not in self.loss:
            raise SettingError(
                f"there is no loss {self.loss!r}: choose one of {', '.join(LOSSES)}, or give the class path of your own"
            )
        self.model.check()
        batch = self.batch.classes * self.batch.images
        if self.memory.size is not None and 0 < self.memory.size < batch:
            raise SettingError(
                f"a memory of {self.memory.size} rows is too small for batches of {batch} images: "
                f"raise --memory.size to at least {batch}, or set it to 0 to train without memory"
            )
        for name, value in {
            "--memory.size": self.memory.size or 0,
            "--memory.weight": self.memory.weight,
            "--memory.batch_weight": self.memory.batch_weight,
            "--memory.start": self.memory.start or 0,
            "--memory.max_drift": self.memory.max_drift,
            "--optim.weight_decay": self.optim.weight_decay,
            "--optim.warmup": self.optim.warmup,
            "--optim.clip": self.optim.clip,
            "--loop.patience": self.loop.patience,
            "--loop.workers": self.loop.workers or 0,
            "--loop.check_every": self.loop.check_every or 0,
            "--drift.sample": self.drift.sample,
            "--seed": self.seed,
        }.items():
            if value < 0:
                raise SettingError(f"{name} must not be negative, got {value}")
        if self.memory.max_drift and not self.drift.sample:
            raise SettingError("--memory.max_drift goes by the drift of a sample: set --drift.sample above 0")
        if self.optim.steps < 1 or self.optim.lr <= 0:
            raise SettingError(
                f"training needs --optim.steps of at least 1 and --optim.lr above 0, "
                f"got {self.optim.steps} and {self.optim.lr}"
            )
        if (self.optim.schedule == "steps") != bool(self.optim.milestones):
            raise SettingError(
                f"--optim.milestones go with --optim.schedule steps: give both or neither, "
                f"got {self.optim.milestones} and {self.optim.schedule}"
            )

    def resolved(self) -> "Settings":
        """The same with the recommended options of the loss written out, as they are kept in the run folder."""
        options = recommended_options(self.loss, self.loss_options) if self.recommended else self.loss_options
        return replace(self, loss_options=options, recommended=False)

    @property
    def class_paths(self) -> list[str]:
        """What training with these settings would import by name."""
        return [name for name in (self.loss if "." in self.loss else None, self.loop.logger) if name]

    @property
    def memory_start(self) -> int:
        """Step from which the memory counts, or from which it may where drift decides."""
        if self.memory.max_drift:
            return self.memory.start or 0
        return self.optim.steps // 5 if self.memory.start is None else self.memory.start

    @property
    def check_every(self) -> int:
        """Steps between two looks at the validation classes."""
        return min(self.loop.check_every or max(self.optim.steps // 20, 1), self.optim.steps)

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for YAML and JSON."""
        plain = asdict(self)
        for holder, name in ((plain, "root"), (plain["model"], "weights")):
            holder[name] = None if holder[name] is None else str(holder[name].absolute())
        plain["fonts"] = [str(font.absolute()) for font in self.fonts]
        return plain

    @classmethod
    def from_dict(cls, plain: dict[str, Any]) -> "Settings":
        """The settings that `as_dict` made plain."""
        values = deepcopy(plain)
        try:
            for holder, name in ((values, "root"), (values.get("model", {}), "weights")):
                if holder.get(name) is not None:
                    holder[name] = Path(holder[name])
            for option in fields(cls):
                if is_dataclass(option.type) and option.name in values:
                    values[option.name] = option.type(**values[option.name])  # type: ignore[operator]
            values["fonts"] = [Path(font) for font in values.get("fonts", [])]
            return cls(**values)
        except (TypeError, AttributeError) as error:
            raise RunError(f"the options of this run are not those of this version ({error})") from error
