"""The groups of options of a training run: loss, batch, memory, network, optimizer, loop, drift."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from jsonargparse.typing import ClosedUnitInterval, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from crossbatch.loss_names import CLASSES
from crossbatch.models.pooling_names import Pooling
from crossbatch.training.option_names import class_path


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
        ours = {kind: name for name, kind in CLASSES.items()}
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
            image apart; by default grid for small, else the backbone's own.
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
        lr: Highest learning rate; for trained weights 0.0001.
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
    """Validation, hardware, precision, reading and logging of a run.

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
        logger: Class path of a further Lightning logger, beside CSV and TensorBoard, as
            lightning.pytorch.loggers.WandbLogger.
        check: What is read of every file before the first step: header, decode (all of it) or none; files that have
            not changed since the last check are not read again.
        on_corrupt: Whether an image that cannot be read is refused or skipped; it is named in both cases.
        compile: Compile the network with torch.compile: minutes before the first step, shorter steps on a GPU.
        channels_last: Whether weights and images are stored channels last; by default only on a CPU.
        race: Whether short runs on validation classes decide augmentation and room where these are not given.
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
    race: bool = True

    @property
    def hardware(self) -> str:
        """The accelerator of the run, as Lightning names it; auto is resolved."""
        import torch  # noqa: PLC0415  (slow to import: the help of a command needs no torch)

        return self.accelerator if self.accelerator != "auto" else "cuda" if torch.cuda.is_available() else "cpu"


@dataclass(frozen=True)
class DriftSettings:
    """How drift is measured while training.

    Args:
        sample: Training images that are embedded twice, 10 steps apart, every 100 steps; 0 measures nothing.
    """

    sample: NonNegativeInt = 128
