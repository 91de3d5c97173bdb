"""The cost of the memory: whole training steps without and with it, timed in turn in one process."""

import math
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from lightning.fabric import Fabric
from torch import Tensor

from crossbatch.cross_batch import CrossBatchLoss
from crossbatch.pieces import embed_in_pieces
from crossbatch.training.cores import torch_threads
from crossbatch.training.follow_network import FollowNetwork
from crossbatch.training.loggers import quiet_lightning
from crossbatch.training.run_parts import RunParts

FOLLOWED = 3  # times that following is measured


@dataclass(frozen=True)
class StepCost:
    """Median seconds of a step without and with memory, and seconds to fill the rows that the warm-up leaves empty."""

    without: float
    with_memory: float
    fill: float = 0.0

    @property
    def ratio(self) -> float:
        """Seconds with memory ÷ seconds without."""
        return self.with_memory / self.without

    def steps_worth(self, steps: int) -> int:
        """Number of steps without memory that take the time which the memory adds to `steps`, filling included."""
        return math.ceil(max(0.0, steps * (self.with_memory - self.without) + self.fill) / self.without)


def measure(without: RunParts, with_memory: RunParts, *, start: int = 0, rounds: int = 40, warmup: int = 5) -> StepCost:
    """Time steps of both runs in turn. A step is complete: batch, forward, loss, backward, clip, Adam, enqueue.

    Steps use the run's accelerator, its precision and its number of images embedded at once. The memory is filled
    first, with embeddings of the given network; `fill` counts only the share of rows that is empty at step `start`.
    Where the memory follows the network, a step with memory includes its share of that time.
    """
    loss_fn = with_memory.learner.loss_fn
    assert isinstance(loss_fn, CrossBatchLoss)  # noqa: S101
    loop = with_memory.settings.loop
    with quiet_lightning():
        fabric = Fabric(accelerator=loop.hardware, devices=1, precision=loop.precision)
    embed = _embedding(with_memory, fabric)
    with_memory.learner.eval()
    batches = with_memory.drawn(loss_fn.memory.size)
    loss_fn.start.zero_()
    times: dict[str, list[float]] = {"without": [], "with": []}
    with torch_threads(with_memory.threads):
        began = time.perf_counter()
        with torch.no_grad():
            drawn = (batches[number] for number in range(len(batches)))
            loss_fn.memory.fill(embed, (batch for batch in drawn if len(batch[1])))
        _wait(fabric.device)
        empty = 1 - min(1.0, start * with_memory.feed.batches.size / loss_fn.memory.size)
        fill = (time.perf_counter() - began) * (empty if with_memory.settings.memory.fill else 0)
        steps = {"without": _step(without, fabric), "with": _step(with_memory, fabric)}
        for number in range(rounds + warmup):
            for name, step in steps.items():
                began = time.perf_counter()
                step(number)
                if number >= warmup:
                    times[name].append(time.perf_counter() - began)
        follow = _follow(with_memory, fabric)
    return StepCost(statistics.median(times["without"]), statistics.median(times["with"]) + follow, fill)


def _embedding(parts: RunParts, fabric: Fabric) -> Callable[[Tensor], Tensor]:
    """A function that embeds images with the network in the run's precision."""
    network = parts.learner.to(fabric.device).embedder

    def embed(images: Tensor) -> Tensor:
        if len(images) == 1:  # BatchNorm has no statistics of a single image
            return embed(images.repeat(2, 1, 1, 1))[:1]
        with torch.no_grad(), fabric.autocast():
            embedded: Tensor = network(images.to(fabric.device))
        return embedded

    return embed


def _follow(parts: RunParts, fabric: Fabric) -> float:
    """Seconds per step for following the network; 0 where the memory does not follow it."""
    learner, times = parts.learner, []
    if learner.following is None:
        return 0.0
    follow, embed = FollowNetwork(parts, learner.following), _embedding(parts, fabric)
    for _ in range(FOLLOWED):
        began = time.perf_counter()
        learner.following(follow.embedded(embed), learner.loss_fn.step)
        _wait(fabric.device)
        times.append(time.perf_counter() - began)
    return min(times) / follow.every  # the first reads the images, which a run does once


def _step(parts: RunParts, fabric: Fabric) -> Callable[[int], None]:
    learner, clip = parts.learner.to(fabric.device).train(), float(parts.settings.optim.clip)
    feed = parts.feed.train_dataloader().dataset
    optimizer: Any = fabric.setup_optimizers(torch.optim.Adam(learner.parameters(), lr=0.0))

    def step(number: int) -> None:
        images, labels, ids = (tensor.to(fabric.device) for tensor in feed[number])
        optimizer.zero_grad()
        with fabric.autocast():
            embeddings = embed_in_pieces(learner.embedder, images, learner.embed_at_once or len(images))
            loss = learner.loss_fn(embeddings, labels, ids=ids)
        fabric.backward(loss)
        if clip:
            fabric.clip_gradients(learner, optimizer, max_norm=clip, error_if_nonfinite=False)
        optimizer.step()
        _wait(fabric.device)

    return step


def _wait(device: torch.device) -> None:
    """Wait until the device has done all its work."""
    if device.type != "cpu":
        torch.accelerator.synchronize(device)
