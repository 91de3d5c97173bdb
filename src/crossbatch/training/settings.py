"""Every option of a training run, typed: the command line, the config file and the run folder share them."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from jsonargparse import ArgumentError, ArgumentParser
from jsonargparse.typing import ClosedUnitInterval, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from crossbatch.data import DATA_SETS, name_for
from crossbatch.data.augment import Augment
from crossbatch.data.split import Split
from crossbatch.errors import RunError, SettingError
from crossbatch.losses import LOSSES, recommended_options
from crossbatch.models.pooling import Pooling
from crossbatch.training.option_names import class_path, with_class
from crossbatch.training.plain_values import made

# Trained weights move fast at first, and what rows of then say is wrong; from scratch most of the motion is shared.
FRESH_TRAINED, FRESH_FROM_SCRATCH = 0.3, 0.7
MOST_IMAGES = 1_000_000  # of a batch
RATE_TRAINED = 1e-4  # a rate ten times as high destroys what trained weights know


@dataclass(frozen=True)
class LossSettings:
    """The pair loss: its class, and the options that its class takes."""

    class_path: str = "crossbatch.SupConLoss"
    init_args: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def named(cls, name: str, **options: Any) -> "LossSettings":
        """A loss of this package by its short name, or any by its class path."""
        return cls(class_path(name), options)

    @property
    def name(self) -> str:
        """The short name of a loss of this package, else the class path."""
        last = self.class_path.rpartition(".")[2]
        ours = {kind.__name__: name for name, kind in LOSSES.items()}
        return ours.get(last, self.class_path) if self.class_path.startswith("crossbatch.") else self.class_path


@dataclass(frozen=True)
class BatchSettings:
    """A batch is P classes with K images each.

    Args:
        classes: Classes in a batch (P); by default 16, or all training classes where there are fewer.
        images: Images of each of these classes (K); some twice where a class has fewer.
    """

    classes: PositiveInt | None = None
    images: PositiveInt = 4


@dataclass(frozen=True)
class MemorySettings:
    """The cross-batch memory.

    Args:
        size: Rows of the memory; by default one for each training image. 0 trains without memory.
        start: Step from which the memory counts; before it, the batch alone trains. By default once its rows are fresh.
        stale: Rows are fresh when they have moved, on average, by at most this share of the distance between two images
            of a class (mean squared distances of unit vectors); by default 0.3 where the network starts from trained
            weights, and 0.7 from scratch.
        weight: Weight of the memory term.
        batch_weight: Weight of the batch term once the memory counts.
        dtype: How rows are stored.
        fill: Whether to fill empty rows with randomly drawn training images when the memory starts.
        follow: Whether rows are carried along with the network, by the motion that a probe of training images shares.
        earlier_only: Whether an anchor is compared with rows of earlier batches only, and only if these hold a
            positive for it; if false, with rows of its own batch too, as in the authors' code.
        sharded: Whether each of several processes keeps only its share of the rows; if false, each keeps all.
    """

    size: NonNegativeInt | None = None
    start: NonNegativeInt | None = None
    stale: NonNegativeFloat | None = None
    weight: NonNegativeFloat = 1.0
    batch_weight: NonNegativeFloat = 1.0
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    fill: bool = True
    follow: bool = True
    earlier_only: bool = True
    sharded: bool = False


@dataclass(frozen=True)
class ModelSettings:
    """The network.

    Args:
        backbone: Network: small (ours), googlenet, bn_inception, or any timm model by name.
        dim: Length of an embedding.
        pretrained: Start the backbone from its published weights; needs an internet connection once.
        image_size: Side in pixels of the square seen, or HEIGHTxWIDTH; by default the data set's or the backbone's.
        pooling: How the last feature maps become one vector: avg, max, gem, or grid, which keeps the quarters of an
            image apart; by default grid for small, else as the backbone was made to.
        freeze_bn: Keep the BatchNorm layers of the backbone as they are: statistics, scale and shift. By default only
            where the network starts from trained weights.
        train_stages: Number of last backbone stages to train with the head; 0 trains the head alone; by default all.
        background: Colour that shows where an image is transparent or padded: white, black, … or #rrggbb.
        fit: How an image of another shape is seen in evaluation: its centre (crop), all of it on the background (pad),
            or all of it out of proportion (squash).
        weights: File to start the backbone from: .safetensors, .pth, .pt or .bin; code in it is never run.
        dims: Lengths at which an embedding may be cut off, as [32,64,128]: the loss is the mean
            over them, and each is searched in evaluation. The last is --model.dim.
    """

    backbone: str = "small"
    dim: PositiveInt = 128
    pretrained: bool = False
    image_size: PositiveInt | str | None = None
    pooling: Pooling | None = None
    freeze_bn: bool | None = None
    train_stages: NonNegativeInt | None = None
    weights: Path | None = None
    background: str = "white"
    fit: Literal["crop", "pad", "squash"] = "crop"
    dims: list[PositiveInt] = field(default_factory=list)

    @property
    def trained(self) -> bool:
        """Whether the network starts from trained weights."""
        return self.pretrained or self.weights is not None

    @property
    def keeps_bn(self) -> bool:
        """Whether BatchNorm layers of the backbone, where there are any, stay as they are."""
        return self.trained if self.freeze_bn is None else self.freeze_bn


@dataclass(frozen=True)
class OptimSettings:
    """The optimizer and its schedule.

    Args:
        steps: Training steps, a batch each.
        lr: Learning rate after warm-up; for trained weights 0.0001.
        head_lr: Learning rate of the head, which is never pretrained; by default that of the backbone.
        optimizer: adam, whose weight decay is an L2 penalty, or adamw, whose weight decay is decoupled.
        weight_decay: L2 penalty of adam; for adamw the share of a weight that a step takes off, at learning rate 1.
        ema: Decay of a running average of the weights, as 0.99, which validation and the saved model then use; less in
            the first steps. 0 keeps none.
        warmup: Steps over which the learning rate rises from 0.
        schedule: Learning rate after warm-up: a cosine down to 0, constant, or a tenth from each milestone on.
        milestones: Steps at which the schedule `steps` divides the learning rate by ten.
        clip: Largest gradient norm; 0 does not clip.
    """

    steps: PositiveInt = 2000
    lr: PositiveFloat = 1e-3
    head_lr: PositiveFloat | None = None
    optimizer: Literal["adam", "adamw"] = "adam"
    weight_decay: NonNegativeFloat = 1e-4
    ema: ClosedUnitInterval = 0.0
    warmup: NonNegativeInt = 50
    schedule: Literal["cosine", "constant", "steps"] = "cosine"
    milestones: list[PositiveInt] = field(default_factory=list)
    clip: NonNegativeFloat = 1.0


@dataclass(frozen=True)
class LoopSettings:
    """How the run goes about it.

    Args:
        check_every: Steps between two validations; by default a twentieth of the steps.
        patience: Stop after this many validations without a better R@1; 0 never stops early.
        precision: Precision as Lightning names it: 32-true, bf16-mixed or 16-mixed.
        accelerator: As Lightning names it: cpu, gpu and others, but not mps, which lacks float64; auto is a CUDA GPU
            where there is one, else the CPU.
        devices: Processes on this machine that train together, one per device; by default as many as torchrun or SLURM
            has started, else one.
        embed_at_once: Images that go through the network at once; each piece of a larger batch is embedded again in the
            backward pass, which takes the memory of a piece and the time of a further forward pass. By default the
            whole batch; needs a network without BatchNorm, or with --model.freeze_bn.
        workers: Processes that read images; by default none on a CPU, where reading and training take turns on all
            cores, and beside a GPU all cores but one, at most 16.
        logger: Class path of a further Lightning logger, beside CSV and TensorBoard.
        check: What is read of every file before the first step: header, decode (all of it) or none; files that have
            not changed since the last check are not read again.
        on_corrupt: Whether an image that cannot be read is refused or skipped; it is named in both cases.
        compile: Compile the network with torch.compile: minutes before the first step, shorter steps on a GPU.
        channels_last: Whether weights and images are stored channels last; by default only on a CPU.
    """

    check_every: PositiveInt | None = None
    patience: NonNegativeInt = 0
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "32-true"
    accelerator: str = "auto"
    devices: PositiveInt | None = None
    embed_at_once: PositiveInt | None = None
    workers: NonNegativeInt | None = None
    logger: str | None = None
    check: Literal["header", "decode", "none"] = "header"
    on_corrupt: Literal["refuse", "skip"] = "refuse"
    compile: bool = False
    channels_last: bool | None = None

    @property
    def hardware(self) -> str:
        """The accelerator that is meant, as Lightning names it."""
        import torch  # noqa: PLC0415  (the help of a command does without)

        return self.accelerator if self.accelerator != "auto" else "cuda" if torch.cuda.is_available() else "cpu"


@dataclass(frozen=True)
class DriftSettings:
    """How drift is measured while training.

    Args:
        sample: Training images that are embedded twice, 10 steps apart, every 100 steps; 0 measures nothing.
    """

    sample: NonNegativeInt = 128


@dataclass(frozen=True)
class Settings:
    """All options of a training run.

    Args:
        root: Your images: a folder per class, or a table (.csv, .tsv, .parquet) with path,label[,role]; or where a
            published data set is.
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
    data: str = ""  # in place of it, what the root is
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
        """Refuse what contradicts itself, before anything is read or written."""
        self._check_batch()
        if self.model.pretrained and self.model.weights is not None:
            raise SettingError("--model.pretrained and --model.weights both say what to start from: give one of them")
        dims, dim = list(self.model.dims), self.model.dim
        if dims and (dims != sorted(set(dims)) or dims[-1] != dim):
            raise SettingError(
                f"--model.dims ascend to --model.dim, got {dims} and {dim}: "
                f"give {sorted({one for one in dims if one < dim} | {dim})}"
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
        """Refuse a batch that fits nowhere, and a memory that does not fit the batch."""
        batch = (self.batch.classes or 1) * self.batch.images  # of classes that are left open at least one
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
        """The same with what follows from other options written out, as it is kept in the run folder.

        That is the recommended options of the loss, the pooling of the small network, and when rows are fresh.
        """
        pooling = self.model.pooling or ("grid" if self.model.backbone == "small" else None)
        settings = replace(self, model=replace(self.model, pooling=pooling))
        if self.memory.stale is None:
            settings = settings.fresh_at(FRESH_TRAINED if self.model.trained else FRESH_FROM_SCRATCH)
        if not self.recommended:
            return settings
        options = recommended_options(self.loss.name, self.loss.init_args)
        return replace(settings, loss=replace(self.loss, init_args=options), recommended=False)

    def fresh_at(self, stale: float) -> "Settings":
        """The same with this limit for rows of the memory, where none was given."""
        return self if self.memory.stale is not None else replace(self, memory=replace(self.memory, stale=stale))

    def at_usual_rate(self, given: Mapping[str, Any], *, trained: bool = False) -> "Settings":
        """The same with the learning rate for trained weights, where they start from such and `given` has no rate."""
        if "lr" in given.get("optim", {}) or not (trained or self.model.trained):
            return self
        return replace(self, optim=replace(self.optim, lr=RATE_TRAINED))

    @property
    def class_paths(self) -> list[str]:
        """What training with these settings would import by name, beside this package."""
        data = None if self.data in DATA_SETS else self.data
        loss = None if self.loss.name in LOSSES else self.loss.class_path
        return [path for path in (data, loss, self.loop.logger) if path]

    @property
    def check_every(self) -> int:
        """Steps between two looks at the validation classes."""
        given = self.loop.check_every
        return int(min(max(self.optim.steps // 20, 1) if given is None else given, self.optim.steps))

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for YAML and JSON; paths are absolute."""
        plain: dict[str, Any] = json.loads(json.dumps(asdict(self), default=lambda path: str(path.absolute())))
        return plain

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> "Settings":
        """The settings that `as_dict` made plain. Nothing they name is imported."""
        options, parser = with_class(plain), ArgumentParser(exit_on_error=False)
        loss = options.pop("loss", {})
        parser.add_class_arguments(cls, skip={"loss"})
        try:
            return made(cls, {**parser.parse_object(options, defaults=False).as_dict(), "loss": loss})
        except (ArgumentError, TypeError) as error:
            told = f"config.yaml of the run does not fit this version ({error})"
            raise RunError(f"{told}: put it back as it was, or train anew") from error
