"""The parts of a run, built from its settings: data, network, loss and data module."""

from dataclasses import asdict, dataclass, replace

import torch
from torch import Tensor, nn

from crossbatch import data
from crossbatch.cross_batch import FOREVER, CrossBatchLoss
from crossbatch.data.augmentation import Augmentation
from crossbatch.data.batches import PartBatches, Reader, one_id_each
from crossbatch.data.checking import refuse_unreadable, without_unreadable
from crossbatch.data.data_set import DataSet, Part
from crossbatch.data.pk_batches import PKBatches
from crossbatch.data.roots import with_notes
from crossbatch.data.transforms import Preprocessing, background_colour, sides_of
from crossbatch.errors import SettingError
from crossbatch.following import Following
from crossbatch.imported import imported_class
from crossbatch.launched import started
from crossbatch.losses import MatryoshkaLoss
from crossbatch.losses.any_loss import AnyLoss, comparing
from crossbatch.losses.comparing import Comparing
from crossbatch.memory import CrossBatchMemory
from crossbatch.models import backbones
from crossbatch.models.averaged import averaged
from crossbatch.models.checkpoint import Description
from crossbatch.models.embedder import Embedder, build
from crossbatch.models.freezing import freeze
from crossbatch.models.weights import load_backbone
from crossbatch.pieces import learning_batch_norms, refuse_batch_norm
from crossbatch.training.cores import share_cores
from crossbatch.training.data_module import PKDataModule
from crossbatch.training.decide import LARGEST, decide
from crossbatch.training.memory_need import refuse_rows
from crossbatch.training.metric_learner import MetricLearner
from crossbatch.training.settings import Settings

PER_DIMENSION = 2  # images of the probe per dimension: from fewer, a linear map is hardly better than none


@dataclass(frozen=True)
class RunParts:
    """Everything a run is made of."""

    settings: Settings
    data: DataSet
    learner: MetricLearner
    feed: PKDataModule
    description: Description
    threads: int
    reasons: dict[str, str]  # for options that were decided by the images, by option
    weights: str | None = None  # report on the matching entries of a weights file

    @property
    def memory(self) -> CrossBatchMemory | None:
        """The memory, if the run has one."""
        loss_fn = self.learner.loss_fn
        return loss_fn.memory if isinstance(loss_fn, CrossBatchLoss) else None

    def drawn(self, images: int, but: Tensor | None = None) -> PartBatches:
        """Training images in batches, drawn at random without replacement, except those with ids in `but`.

        Copies of an image have one id, as in training.
        """
        part, copies = self.data.train, self.data.copies
        ids = one_id_each(part.ids, copies)
        order = torch.randperm(len(part), generator=torch.Generator().manual_seed(self.settings.seed))
        if but is not None:
            order = order[~torch.isin(ids[order], one_id_each(but.cpu(), copies))]
        order = order[:images]
        return self.feed.part(Part(part.labels[order], part.ids[order]), ids[order])

    def probe(self, images: int) -> PartBatches:
        """Training images for the probe; others than the drift sample, where there are enough images."""
        sample = self.drawn(self.settings.drift.sample).part.ids
        return self.drawn(images, sample if images + len(sample) <= len(self.data.train) else None)


def load_data(settings: Settings) -> DataSet:
    """Read the data set; a refit trains on the validation classes too."""
    loaded = data.load(settings.data, settings.root, settings.split, settings.fonts, settings.script)
    if settings.loop.on_corrupt == "refuse":
        refuse_unreadable(loaded, settings.loop.check)
    else:
        loaded = without_unreadable(loaded, settings.loop.check)
    return replace(loaded, train=loaded.train + loaded.validation) if settings.refit else loaded


def build_parts(settings: Settings, loaded: DataSet | None = None) -> RunParts:
    """Build every part of a run; refuse settings that do not fit the data or each other. Nothing is written."""
    settings = settings.resolved()
    settings.check()
    loaded = loaded or load_data(settings)
    if loaded.train.classes < 2:
        problem = "one class is left to train on, and there is nothing to tell it from: bring five classes or more"
        raise with_notes(problem, loaded.notes)
    if settings.loop.patience and (settings.refit or not len(loaded.validation)):
        raise SettingError("--loop.patience stops by R@1 on validation classes, and there are none: leave it out")
    reader = Reader(loaded.images, settings.loop.on_corrupt)
    settings, reasons = decide(settings, loaded, reader)
    settings.check()
    batches = PKBatches(loaded.train.labels, settings.batch.classes or 0, settings.batch.images, settings.seed)
    preprocessing = preprocess(settings, loaded)
    torch.manual_seed(settings.seed)
    network, weights = _network(settings, loaded.channels, preprocessing.sides)
    on_cpu = settings.loop.hardware == "cpu" or not torch.accelerator.is_available()
    if settings.loop.precision == "16-mixed" and on_cpu:
        raise SettingError("--loop.precision 16-mixed needs a GPU: on a CPU give bf16-mixed, or leave it out")
    if settings.loop.channels_last or (settings.loop.channels_last is None and on_cpu):
        network.to(memory_format=torch.channels_last)  # convolutions train in 0.6 to 0.9 of the time there
    at_once, images = settings.loop.embed_at_once, batches.size
    _refuse_shares(network.train(), images, _processes(settings))
    if at_once is not None and at_once < images:
        refuse_batch_norm(network.train(), at_once, images)
    loss_fn = _loss(settings, loaded.train)
    average = averaged(network, float(settings.optim.ema)) if settings.optim.ema else None
    if settings.loop.compile:
        network.compile()
    following = _following(settings, loss_fn, len(loaded.train))
    loop = settings.loop
    learner = MetricLearner(network, loss_fn, settings.optim, following, average, loop.embed_at_once)
    workers, threads = share_cores(loaded.images.in_memory, loop.workers, on_cpu=on_cpu, processes=loop.devices)
    augmentation = Augmentation(preprocessing, settings.augment.amounts)
    pinned = torch.cuda.is_available() and not on_cpu
    feed = PKDataModule(loaded, batches, preprocessing, augmentation, reader, workers, pinned=pinned)
    description = Description(
        settings.model.backbone,
        settings.model.dim,
        loaded.channels,
        asdict(preprocessing),
        [loaded.class_names[label] for label in loaded.train.labels.unique().tolist()],
        settings.model.pooling,
        list(settings.model.dims),
    )
    return RunParts(settings, loaded, learner, feed, description, threads, reasons, weights)


def _processes(settings: Settings) -> int:
    """How many processes train together: those that a launcher started, or those that Lightning will start."""
    return max(started(), settings.loop.devices or 1)


def _refuse_shares(network: nn.Module, images: int, processes: int) -> None:
    """Refuse more processes than images in a batch, or one image for a process where BatchNorm needs two."""
    fewest = images // processes
    needed = 2 if processes > 1 and learning_batch_norms(network) else 1
    if fewest < needed:
        problem = f"a batch of {images} images has {fewest} for some of {processes} processes"
        why = ", and BatchNorm needs two (--model.freeze_bn true does without)" if fewest else ""
        raise SettingError(f"{problem}{why}: raise --batch.classes, or start fewer processes")


def preprocess(settings: Settings, loaded: DataSet) -> Preprocessing:
    """As the backbone's weights were trained; the small network takes the data set's size and values in [−1, 1]."""
    chosen = settings.model
    background_colour(chosen.background)  # refuses a text that names no colour
    config = backbones.image_settings(chosen.backbone)
    mean, std = ((0.5,) * loaded.channels,) * 2
    size, crop = sides_of(chosen.image_size) or loaded.image_size or LARGEST, 1.0
    if config is not None:
        size, crop = sides_of(chosen.image_size) or int(config["input_size"][-1]), float(config["crop_pct"])
        mean, std = tuple(config["mean"]), tuple(config["std"])
        if loaded.channels == 1:
            mean, std = (sum(mean) / len(mean),), (sum(std) / len(std),)
    resize = round((size if isinstance(size, int) else min(size)) / crop)
    return Preprocessing(size, resize, loaded.channels, mean, std, chosen.background, chosen.fit)


def _network(settings: Settings, channels: int, sides: tuple[int, int]) -> tuple[Embedder, str | None]:
    """The network with its initial weights and frozen layers; and a report on the weights file, if there is one."""
    chosen = settings.model
    network = build(chosen.backbone, chosen.dim, channels, pooling=chosen.pooling, pretrained=chosen.pretrained)
    weights = None if chosen.weights is None else load_backbone(network.backbone, chosen.backbone, chosen.weights)
    backbones.take(network.backbone, chosen.backbone, channels, sides)
    freeze(network, chosen.backbone, train_stages=chosen.train_stages, batch_norm=chosen.keeps_bn)
    return network, weights


def _loss(settings: Settings, train: Part) -> CrossBatchLoss | Comparing:
    kind = imported_class(settings.loss.class_path, "--loss", nn.Module)
    try:
        loss = comparing(kind(**settings.loss.init_args))
    except TypeError as error:
        raise SettingError(f"the {settings.loss.name} loss does not take {settings.loss.init_args}: {error}") from error
    if isinstance(loss, AnyLoss):
        _refuse_uncallable(loss.loss, settings, int(train.labels.max()))
    if settings.model.dims:
        loss = MatryoshkaLoss(loss, settings.model.dims)
    chosen = settings.memory
    size = len(train) if chosen.size is None else chosen.size
    if size == 0:
        return loss
    refuse_rows(settings, size)
    if chosen.sharded and not loss.mean_over_anchors and _processes(settings) > 1:
        raise SettingError(
            f"--memory.sharded needs a loss of this package, or a PairLoss of yours, whose sums over the shards can be "
            f"merged; got {settings.loss.name}: leave --memory.sharded out"
        )
    memory = CrossBatchMemory(size, settings.model.dim, dtype=getattr(torch, chosen.dtype), sharded=chosen.sharded)
    start = FOREVER if chosen.start is None else int(chosen.start)  # until `MemoryStart` measures that rows are fresh
    return CrossBatchLoss(
        loss,
        memory,
        memory_weight=chosen.weight,
        batch_weight=chosen.batch_weight,
        warmup_steps=start,
        earlier_only=chosen.earlier_only,
    )


def _refuse_uncallable(loss: nn.Module, settings: Settings, last: int) -> None:
    """Refuse a loss of the user that fails when it is called with four rows of the first and the last class."""
    rows = nn.functional.normalize(torch.eye(4, settings.model.dim) + 0.5)
    labels = torch.tensor([0, 0, last, last])
    against = {} if settings.memory.size == 0 else {"ref_emb": rows, "ref_labels": labels}
    try:
        with torch.random.fork_rng(devices=[]):
            loss(rows, labels, **against).item()
    except Exception as error:
        told = ", ".join(["embeddings", "labels", *(f"{name}=" for name in against)])
        raise SettingError(
            f"--loss {settings.loss.class_path} cannot be called with ({told}), which gives a number: "
            f"{type(error).__name__}: {error}".split("\n")[0]
        ) from error


def _following(settings: Settings, loss_fn: nn.Module, training_images: int) -> Following | None:
    if not settings.memory.follow or not isinstance(loss_fn, CrossBatchLoss):
        return None
    return Following(loss_fn.memory, probe_images(settings.model.dim, training_images))


def probe_images(dim: int, training_images: int) -> int:
    """Number of images of the probe."""
    return min(PER_DIMENSION * dim, training_images)
