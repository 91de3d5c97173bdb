"""What the memory costs: whole training steps without and with it, in turn, in one process."""

import math
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

from crossbatch.cross_batch import CrossBatchLoss
from crossbatch.training.cores import torch_threads
from crossbatch.training.follow_network import FollowNetwork
from crossbatch.training.run_parts import RunParts

FOLLOWED = 3  # times that following is measured


@dataclass(frozen=True)
class StepCost:
    """Median seconds of a step, the ratio of the medians, and the seconds of filling what the warm-up leaves empty."""

    without: float
    with_memory: float
    fill: float = 0.0

    @property
    def ratio(self) -> float:
        """With ÷ without."""
        return self.with_memory / self.without

    def steps_worth(self, steps: int) -> int:
        """How many steps without memory take the time that the memory adds to so many steps, filling included."""
        return math.ceil(max(0.0, steps * (self.with_memory - self.without) + self.fill) / self.without)


def measure(without: RunParts, with_memory: RunParts, *, start: int = 0, rounds: int = 40, warmup: int = 5) -> StepCost:
    """Time steps of both in turn. A step is all of it: batch, forward, loss, backward, clip, Adam, enqueue.

    The memory is filled first, with embeddings by the network that is given; charged is what is empty of it at its
    `start`. Where it follows the network, a step takes its share of that too.
    """
    loss_fn = with_memory.learner.loss_fn
    assert isinstance(loss_fn, CrossBatchLoss)  # noqa: S101
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    network = with_memory.learner.to(device).embedder.eval()
    batches = with_memory.drawn(loss_fn.memory.size)
    loss_fn.start.zero_()
    times: dict[str, list[float]] = {"without": [], "with": []}
    with torch_threads(with_memory.threads):
        began = time.perf_counter()
        with torch.no_grad():
            drawn = (batches[number] for number in range(len(batches)))
            loss_fn.memory.fill(network, ((images.to(device), labels, ids) for images, labels, ids in drawn))
        _wait(device)
        empty = 1 - min(1.0, start * len(with_memory.feed.batches) / loss_fn.memory.size)
        fill = (time.perf_counter() - began) * (empty if with_memory.settings.memory.fill else 0)
        steps = {"without": _step(without, device), "with": _step(with_memory, device)}
        for number in range(rounds + warmup):
            for name, step in steps.items():
                began = time.perf_counter()
                step(number)
                if number >= warmup:
                    times[name].append(time.perf_counter() - began)
        follow = _follow(with_memory, device)
    return StepCost(statistics.median(times["without"]), statistics.median(times["with"]) + follow, fill)


def _follow(parts: RunParts, device: torch.device) -> float:
    """Seconds a step of following the network, where the memory does."""
    learner, times = parts.learner, []
    if learner.following is None:
        return 0.0
    follow = FollowNetwork(parts, learner.following)
    for _ in range(FOLLOWED):
        began = time.perf_counter()
        with torch.no_grad():
            probe = follow.embedded(lambda images: learner.embedder(images.to(device)))
        learner.following(probe, learner.loss_fn.step)
        _wait(device)
        times.append(time.perf_counter() - began)
    return min(times) / follow.every  # the first reads the images, which a run does once


def _step(parts: RunParts, device: torch.device) -> Callable[[int], None]:
    learner = parts.learner.to(device).train()
    feed = parts.feed.train_dataloader().dataset
    optimizer = torch.optim.Adam(learner.parameters(), lr=0.0)

    def step(number: int) -> None:
        images, labels, ids = (tensor.to(device) for tensor in feed[number])
        optimizer.zero_grad()
        learner.loss_fn(learner.embedder(images), labels, ids=ids).backward()
        torch.nn.utils.clip_grad_norm_(learner.parameters(), parts.settings.optim.clip or torch.inf)
        optimizer.step()
        _wait(device)

    return step


def _wait(device: torch.device) -> None:
    """Until the device has done all that it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize()
