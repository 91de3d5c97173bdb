"""Memory that a run needs on the machine or its GPU: estimated, printed, and refused where it cannot fit."""

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.func import functional_call

from crossbatch.errors import SettingError
from crossbatch.launched import started
from crossbatch.processes import Apart
from crossbatch.training.settings import Settings

ADAM = 3  # gradient and two moments, each as large as the weights that learn
PER_ROW = 8 * 3  # bytes of a row's label, id and step
BEYOND = 2  # a run is refused above this multiple of all memory: no estimate is so far off
WAY_OUT = "lower --batch.classes, --batch.images, --model.image_size or --memory.size"
PROBED = 2  # images by which a batch is estimated: BatchNorm has no statistics of a single image


def refuse_rows(settings: Settings, size: int) -> None:
    """Refuse a cross-batch memory whose rows alone exceed the available memory, before it is made."""
    item = torch.empty(0, dtype=getattr(torch, settings.memory.dtype)).element_size()
    rows = math.ceil(size / started()) if settings.memory.sharded else size
    needs, (total, _), place = rows * (settings.model.dim * item + PER_ROW), there_is(settings), _place(settings)
    if total is not None and needs > total:
        raise SettingError(
            f"a memory of {size:,} rows of {settings.model.dim} ({settings.memory.dtype}) takes {size_of(needs)}, "
            f"and {place} has {size_of(total)}: lower --memory.size or --model.dim, or give --memory.dtype float16"
        )


def needed(learner: nn.Module, embedder: nn.Module, batch: int, sides: tuple[int, int], channels: int) -> int:
    """Estimate the bytes that training takes: weights, gradients, state of the optimizer, buffers, and one batch.

    The buffers are mostly the memory's rows. A batch takes its images and what its forward pass keeps for the backward
    pass, in float32. The loss keeps little beside that, since it goes through the memory in blocks.
    """
    weights = sum(weight.nbytes for weight in learner.parameters())
    learns = sum(weight.nbytes for weight in learner.parameters() if weight.requires_grad)
    apart = [module for module in _children(learner) if isinstance(module, Apart)]
    buffers = sum(buffer.nbytes for module in [learner, *apart] for buffer in module.buffers())
    return weights + ADAM * learns + buffers + _kept_for_backward(embedder, batch, sides, channels)


def _children(module: nn.Module) -> Iterator[nn.Module]:
    """Every module below a module, also those of type `Apart`, which `modules()` of a module above leaves out."""
    for child in module.children():
        yield child
        yield from _children(child)


def there_is(settings: Settings) -> tuple[int | None, int | None]:
    """Total and free bytes of the GPU or machine that the run trains on; None where the system does not tell them."""
    if _on_gpu(settings):
        free, total = torch.cuda.mem_get_info()
        return total, free
    machine, available = _of_machine()
    limit, used = _number("/sys/fs/cgroup/memory.max"), _number("/sys/fs/cgroup/memory.current")
    if limit is not None and (machine is None or limit < machine):
        left = None if used is None else max(0, limit - used)
        return limit, left if available is None or left is None else min(available, left)
    return machine, available


def told(settings: Settings, need: int) -> list[str]:
    """The line of the plan, with a warning where the run will hardly fit; refuses a run that cannot fit."""
    (total, free), place = there_is(settings), _place(settings)
    if total is not None and need > BEYOND * total:
        reason = f"this run needs about {size_of(need)} beside the data, and {place} has {size_of(total)}"
        raise SettingError(f"{reason}: {WAY_OUT}")
    if free is None:
        return [f"needs     about {size_of(need)} of {place} beside the data"]
    tight = "" if need < free else f"; this will hardly fit: {WAY_OUT}"
    return [f"needs     about {size_of(need)} of {place} beside the data; {size_of(free)} are free{tight}"]


def size_of(count: int) -> str:
    """Bytes as text, in MB or GB."""
    return f"{count / 1e9:,.1f} GB" if count >= 1e9 else f"{count / 1e6:,.1f} MB"


def _kept_for_backward(embedder: nn.Module, batch: int, sides: tuple[int, int], channels: int) -> int:
    """Bytes of a batch's images and of what autograd keeps for them, by embedding `PROBED` images."""
    images = torch.zeros(PROBED, channels, *sides)
    buffers = {name: value.clone() for name, value in embedder.named_buffers()}
    own = {value.untyped_storage().data_ptr() for value in [*embedder.parameters(), *buffers.values()]}
    kept: dict[int, int] = {images.untyped_storage().data_ptr(): images.nbytes}

    def keep(value: Tensor) -> Tensor:
        storage = value.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return value

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda value: value), _unchanged(embedder):
        embedded = functional_call(embedder, buffers, (images,))
    del embedded
    return sum(kept.values()) * batch // PROBED


@contextmanager
def _unchanged(module: nn.Module) -> Iterator[None]:
    """Set training mode within the block; afterwards restore the mode and the random numbers."""
    training, random = module.training, torch.get_rng_state()
    module.train()
    try:
        yield
    finally:
        module.train(training)
        torch.set_rng_state(random)


def _on_gpu(settings: Settings) -> bool:
    return settings.loop.accelerator != "cpu" and torch.cuda.is_available()


def _place(settings: Settings) -> str:
    return "the GPU" if _on_gpu(settings) else "this machine"


def _of_machine() -> tuple[int | None, int | None]:
    """Total and free bytes of the machine on Linux; the total alone on other systems that tell it."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        fields = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in lines}
        return fields["MemTotal"], fields["MemAvailable"]
    except (OSError, ValueError, KeyError, IndexError):
        pass
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"), None
    except (AttributeError, ValueError, OSError):  # Windows
        return None, None


def _number(path: str) -> int | None:
    try:
        return int(Path(path).read_text(encoding="ascii"))
    except (OSError, ValueError):  # not Linux, or no limit
        return None
