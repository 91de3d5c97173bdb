"""The plan of a run, printed before its first step."""

import textwrap
from collections.abc import Iterable

from rich.console import Console

from crossbatch.data import called
from crossbatch.launched import started
from crossbatch.pieces import learning_batch_norms
from crossbatch.training import memory_need
from crossbatch.training.follow_network import every
from crossbatch.training.metric_learner import lr_factor
from crossbatch.training.run_parts import RunParts
from crossbatch.training.settings import OptimSettings

REACHED = 0.7  # least share of the learning rate that a run should reach
FEW_QUERIES, FEW_CLASSES = 200, 10  # of validation, below which chance has a say in what it chooses
INDENT = " " * 10  # of lines that belong to the line above


def print_plan(console: Console, lines: Iterable[str]) -> None:
    """Print the lines of a plan; in a terminal they are wrapped between words, and continued lines are indented."""
    breaker = textwrap.TextWrapper(console.width, subsequent_indent=INDENT)
    breaker.break_long_words = breaker.break_on_hyphens = False
    for line in lines:
        console.print(breaker.fill(line) if console.is_terminal else line)


def plan_of(parts: RunParts) -> list[str]:
    """The lines of the plan: what the run will do."""
    data, optim = parts.data, parts.settings.optim
    validation = f"validation {len(data.validation):,} of {data.validation.classes:,}"
    if parts.settings.refit:
        validation = "no validation, whose classes are trained on (--refit)"
    return [
        f"data      {called(data.name, parts.settings.root)} (fingerprint {data.fingerprint}): "
        f"{len(data.train):,} training images of {data.train.classes:,} classes; {validation}; "
        f"test {len(data.query):,} of {data.query.classes:,}",
        *images_of(parts),
        *_batch(parts),
        *_memory(parts),
        *_model(parts),
        *_needs(parts),
        f"training  {optim.steps:,} steps, learning rate {optim.lr:g}{_recipe(parts)}, {_reading(parts)}",
        *(f"note      {note}" for note in [*_short_of(optim), *_small_validation(parts), *data.notes]),
    ]


def images_of(parts: RunParts) -> list[str]:
    """The lines on augmentation and image size, with the reasons."""
    augment, seen = parts.settings.augment, parts.feed.evenly.preprocessing
    told = {
        "augment.policy": f"augmentation {augment.policy}: {augment.amounts}",
        "model.image_size": f"seen at {seen.sides[0]}×{seen.sides[1]} (height × width)",
    }
    lines = [f"{said}{f' ({parts.reasons[name]})' if name in parts.reasons else ''}" for name, said in told.items()]
    lines += [why for option, why in parts.reasons.items() if option in ("model.background", "model.fit")]
    return [f"{'images':10}{lines[0]}", *(f"{INDENT}{line}" for line in lines[1:])]


def _batch(parts: RunParts) -> list[str]:
    batches, per_class = parts.feed.batches, parts.settings.batch.images
    size = batches.size
    lines = [
        f"batch     {size} = {batches.classes} classes × {per_class} images: "
        f"each image is compared with {size - per_class} of other classes"
        + "".join(f" ({why})" for option, why in parts.reasons.items() if option == "batch.classes")
    ]
    if (count := started()) > 1:
        statistics = "; BatchNorm sees these alone" if learning_batch_norms(parts.learner.embedder) else ""
        lines.append(f"{INDENT}{count} processes take {size / count:g} images each{statistics}")
    if batches.classes == 1:
        lines.append(f"{INDENT}a batch has one class and no negative: raise --batch.classes")
    if batches.short_classes:
        short = "1 class has" if batches.short_classes == 1 else f"{batches.short_classes:,} classes have"
        lines.append(f"{INDENT}{short} fewer than {per_class} images: some are drawn more than once")
    if batches.left_out:
        have = "has" if batches.left_out == 1 else "have"
        lines.append(
            f"{INDENT}{batches.left_out} of the training classes {have} one image, which is left out of the batches"
        )
    return lines


def _memory(parts: RunParts) -> list[str]:
    memory, settings, size = parts.memory, parts.settings, parts.feed.batches.size
    if memory is None:
        return ["memory    none"]
    start = (
        f"once its rows have moved at most {settings.memory.stale:g} times the distance between two images of a class"
        if settings.memory.start is None
        else f"from step {settings.memory.start} on"
    )
    lines = [
        f"memory    {memory.size:,} rows of {memory.dim} numbers ({settings.memory.dtype}), "
        f"{memory.nbytes / 1e6:.1f} MB: each image is compared with up to {memory.size:,} more; it counts {start}"
    ]
    if settings.memory.start is not None and settings.memory.start >= settings.optim.steps:
        lines.append(f"{INDENT}it will not count: the run has {settings.optim.steps:,} steps; lower --memory.start")
    if memory.size > len(parts.data.train):
        lines.append(
            f"{INDENT}it is larger than the {len(parts.data.train):,} training images: older rows of the same image "
            "stay in it too"
        )
    if settings.memory.start is None and settings.optim.steps <= every(parts):
        lines.append(
            f"{INDENT}it will not count: whether rows are fresh is checked every {every(parts)} steps, and the run has "
            f"{settings.optim.steps}; give --memory.start to have it count"
        )
    if parts.learner.following is not None and settings.optim.steps > every(parts):
        images = len(parts.learner.following.probe)
        lines.append(
            f"{INDENT}its rows are carried along with the network every {every(parts)} steps, as {images} images move"
        )
    share = parts.feed.batches.share_seen(memory.size // size)
    if settings.memory.earlier_only and share < 0.99:
        advice = "; a larger --memory.size raises it" if memory.size < len(parts.data.train) else ""
        compared = f"{share:.0%} of the images find an earlier row of their class there, and only these count{advice}"
        lines.append(f"{INDENT}it holds {round(memory.size / size, 1):,g} batches: {compared}")
    return lines


def _model(parts: RunParts) -> list[str]:
    settings, weights = parts.settings, list(parts.learner.embedder.parameters())
    count, learns = (sum(one.numel() for one in weights if one.requires_grad or frozen) for frozen in (True, False))
    seen = parts.feed.evenly.preprocessing
    options = {name: value for name, value in settings.loss.init_args.items() if value is not None}
    kept = ", BatchNorm kept as it is" if settings.model.keeps_bn and parts.learner.embedder.kept else ""
    line = (
        f"model     {settings.model.backbone}, {count:,} weights{f' ({learns:,} learn)' if learns < count else ''}, "
        f"{f'{settings.model.pooling} pooling, ' if settings.model.pooling else ''}"
        f"{seen.sides[0]}×{seen.sides[1]}×{seen.channels} images{kept}; {settings.loss.name} loss"
        + (f" at {', '.join(map(str, settings.model.dims))} dimensions" if settings.model.dims else "")
        + "".join(f", {name} {value}" for name, value in options.items())
        + "".join(f" ({why})" for option, why in parts.reasons.items() if option == "loss.room")
    )
    return [line] if parts.weights is None else [line, f"weights   {parts.weights}"]


def _needs(parts: RunParts) -> list[str]:
    """The line on the memory that training needs, and how much is free."""
    seen, embedder = parts.feed.evenly.preprocessing, parts.learner.embedder
    need = memory_need.needed(parts.learner, embedder, parts.feed.batches.size, seen.sides, seen.channels)
    return memory_need.told(parts.settings, need)


def _recipe(parts: RunParts) -> str:
    """The options of the recipe that differ from their defaults."""
    optim, loop = parts.settings.optim, parts.settings.loop
    told = {
        f"{optim.head_lr or 0:g} for the head": optim.head_lr,
        optim.optimizer: optim.optimizer != "adam",
        f"weight decay {optim.weight_decay:g}": optim.weight_decay != OptimSettings.weight_decay,
        f"schedule {optim.schedule}": optim.schedule != "cosine",
        f"weights averaged with decay {optim.ema:g}": optim.ema,
        loop.precision: loop.precision != "32-true",
        "compiled": loop.compile,
    }
    return "".join(f", {words}" for words, said in told.items() if said)


def _short_of(optim: OptimSettings) -> list[str]:
    """Notes on a learning rate that never falls at a milestone, or never rises to its value."""
    late = [step for step in optim.milestones if step >= optim.steps]
    told = [f"the learning rate never falls at {late}: the run has {optim.steps:,} steps"] if late else []
    share = max(lr_factor(optim, step) for step in range(optim.steps))
    if share < REACHED:
        way_out = f"lower --optim.warmup {optim.warmup}, of {optim.steps:,} steps, or train for longer"
        told.append(f"the learning rate rises to {share * optim.lr:.2g} only: {way_out}")
    return told


def _small_validation(parts: RunParts) -> list[str]:
    """A note where validation is so small that its R@1 chooses the kept step partly by chance."""
    queries, classes = len(parts.data.validation), parts.data.validation.classes
    if parts.settings.refit or not queries or (queries >= FEW_QUERIES and classes >= FEW_CLASSES):
        return []
    count = f"{queries:,} queries of {classes} {'class' if classes == 1 else 'classes'}"
    worth = f"one query is {100 / queries:.1f} points of R@1" if queries < FEW_QUERIES else "other classes may disagree"
    return [f"validation: {count}: {worth}, so the step that is kept is partly chosen by chance; more classes help"]


def _reading(parts: RunParts) -> str:
    threads = f"{parts.threads} thread{'s' * (parts.threads > 1)}"
    if parts.feed.workers:
        return f"{threads}, and {parts.feed.workers} loader processes"
    return threads if parts.data.images.in_memory else f"{threads}, for reading and training in turn"
