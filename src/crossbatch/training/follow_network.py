"""The memory follows the network: a probe of training images, embedded again every few steps."""

from collections.abc import Callable
from typing import Any

import lightning as L
import torch
from torch import Tensor

from crossbatch.following import Following
from crossbatch.training.metric_learner import MetricLearner
from crossbatch.training.run_parts import RunParts, probe_images

SHARE = 0.1  # images of the probe embedded per training image: a forward pass alone, a thirtieth of a step


def every(parts: RunParts) -> int:
    """Steps between two embeddings of the probe."""
    images = probe_images(parts.settings.model.dim, len(parts.data.train))
    per_step = SHARE * parts.feed.batches.size
    return max(1, round(images / per_step))


class FollowNetwork(L.Callback):
    """Embeds the probe again, as rows of the memory are embedded, and carries the rows along with the network."""

    def __init__(self, parts: RunParts, following: Following) -> None:
        self.parts, self.following, self.every = parts, following, every(parts)
        self._images: list[Tensor] = []

    def on_train_batch_start(self, trainer: L.Trainer, module: L.LightningModule, *_: Any) -> None:
        """Carry the rows along before every `every`-th step."""
        assert isinstance(module, MetricLearner)  # noqa: S101
        if trainer.global_step % self.every == 0:
            self.following(self.embedded(module.embed_together), module.loss_fn.step)

    def embedded(self, embed: Callable[[Tensor], Tensor]) -> Tensor:
        """Embed the probe with the present network; its images are read once."""
        if not self._images:
            drawn = self.parts.probe(len(self.following.probe))
            batches = (drawn[number] for number in range(len(drawn)))
            images = torch.cat([images for images, labels, _ in batches if len(labels)])
            self._images = list(images.split(self.parts.feed.batches.size))
        return torch.cat([embed(images) for images in self._images])
