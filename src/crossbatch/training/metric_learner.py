"""The LightningModule: it embeds a batch, takes its loss, validates and logs."""

import math
from collections.abc import Sequence
from typing import Any

import lightning as L
import torch
from torch import Tensor
from torch.func import functional_call

from crossbatch.cross_batch import FOREVER, CrossBatchLoss
from crossbatch.data.batches import Batch
from crossbatch.following import Following
from crossbatch.losses.comparing import Comparing
from crossbatch.metrics import Retrieval, evaluate
from crossbatch.models.averaged import Averaged
from crossbatch.models.embedder import Embedder
from crossbatch.pieces import embed_in_pieces
from crossbatch.precision import without_autocast
from crossbatch.processes import Processes
from crossbatch.training.settings import OptimSettings

LOG_EVERY = 10


class MetricLearner(L.LightningModule):
    """Trains an embedder with a pair loss, with or without memory; validates by leave-one-out search."""

    def __init__(
        self,
        embedder: Embedder,
        loss_fn: CrossBatchLoss | Comparing,
        optim: OptimSettings,
        following: Following | None = None,
        average: Averaged | None = None,
        embed_at_once: int | None = None,
    ) -> None:
        super().__init__()
        self.average, self.embed_at_once = average, embed_at_once
        self.embedder, self.loss_fn, self.optim, self.following = embedder, loss_fn, optim, following
        self.processes, self.dim = Processes(), embedder.head.out_features
        self.validation: Retrieval | None = None
        self._embedded: list[tuple[Tensor, Tensor, Tensor]] = []

    @property
    def network(self) -> Embedder:
        """The network that is validated and saved: the average of the weights if there is one, else the embedder."""
        network: Embedder = self.embedder if self.average is None else self.average.module
        return network

    def training_step(self, batch: Batch, _: int) -> Tensor:
        """Loss of one P×K batch."""
        images, labels, ids = batch
        embeddings = embed_in_pieces(self.embedder, images, self.embed_at_once or max(1, len(images)))
        if not isinstance(self.loss_fn, CrossBatchLoss):  # CrossBatchLoss gathers by itself
            gathered = self.processes.gather(embeddings, labels, ids)
            loss: Tensor = self.loss_fn(gathered.embeddings, gathered.labels, ids=gathered.ids)
        else:
            loss = self.loss_fn(embeddings, labels, ids=ids)
        if (self.global_step + 1) % LOG_EVERY == 0:
            self.log_dict(
                {"loss": loss.detach(), "lr": self.trainer.optimizers[0].param_groups[0]["lr"], **self.stats()},
                sync_dist=True,
            )
        return loss

    def embed_together(self, images: Tensor) -> Tensor:
        """Embed as `embed_as_rows` does; each process embeds its share of the images, and all get all rows in order."""
        share = images[self.processes.part(len(images))]
        rows = self.embed_as_rows(share) if len(share) else torch.zeros(0, self.dim, device=self.device)
        return self.processes.gather_rows(rows)

    def embed_as_rows(self, images: Tensor) -> Tensor:
        """Embed as a training step does, with the statistics of the batch; leave buffers and random numbers unchanged.

        BatchNorm's running statistics lag at a high learning rate: images embedded with these were 0.1 to 0.86 (squared
        distance; glyphs, learning rate 0.003, first half) from the rows that training had just put into the memory.
        """
        if len(images) == 1:  # BatchNorm has no statistics of a single image
            return self.embed_as_rows(images.repeat(2, 1, 1, 1))[:1]
        buffers = {name: buffer.clone() for name, buffer in self.embedder.named_buffers()}
        random = torch.random.fork_rng(devices=range(torch.cuda.device_count()))
        with random, torch.no_grad(), self.trainer.precision_plugin.forward_context():
            torch.manual_seed(0)  # dropout is the same at each step
            embedded: Tensor = functional_call(self.embedder, buffers, (images.to(self.device),))
        return embedded

    def stats(self) -> dict[str, float]:
        """Statistics of the last step's loss; with a memory also its rows and their mean age."""
        if not isinstance(self.loss_fn, CrossBatchLoss):
            return {f"batch_{name}": float(value) for name, value in self.loss_fn.stats.items()}
        memory = self.loss_fn.memory
        stats = {name: float(value) for name, value in self.loss_fn.stats.items()}
        ages = self.loss_fn.step - 1 - memory.steps
        if int(self.loss_fn.max_age) < FOREVER:
            stats["memory_max_age"] = float(self.loss_fn.max_age)
        rows = float(len(memory) * memory.shard.parts)  # the mean over the processes is the number in all of them
        return stats | {"memory_rows": rows, "memory_age": float(ages.float().mean())}

    def validation_step(self, batch: Batch, _: int) -> None:
        """Embed one batch of the validation part."""
        images, labels, ids = batch
        if len(labels):
            with without_autocast(images.device):  # the trained model embeds without autocast too
                self._embedded.append((self.network(images).float(), labels, ids))

    def on_validation_epoch_end(self) -> None:
        """Search each validation image among the others."""
        embeddings, labels, ids = put_together(self._embedded, self.processes, self.dim, self.device)
        self._embedded.clear()
        if not len(labels):
            return
        self.validation = evaluate(embeddings, labels, ids, embeddings, labels, ids)
        self.log_dict({f"val/{name}": value for name, value in self.validation.summary().items()})

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """Step, and update the average of the weights before anything is saved."""
        super().optimizer_step(*args, **kwargs)
        if self.average is not None:
            self.average.update(self.embedder, self.global_step + 1)

    def configure_optimizers(self) -> Any:
        """The optimizer of all parameters that learn, the head with its own rate if given; and a schedule by step."""
        learning = [parameter for parameter in self.parameters() if parameter.requires_grad]
        groups: list[dict[str, Any]] = [{"params": learning}]
        if self.optim.head_lr is not None:
            head = {id(parameter) for parameter in self.embedder.head.parameters()}
            groups = [
                {"params": [weight for weight in learning if id(weight) not in head]},
                {"params": [weight for weight in learning if id(weight) in head], "lr": self.optim.head_lr},
            ]
        kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[self.optim.optimizer]
        optimizer = kind(groups, lr=self.optim.lr, weight_decay=self.optim.weight_decay)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: lr_factor(self.optim, step))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def put_together(
    batches: Sequence[tuple[Tensor, Tensor, Tensor]], processes: Processes, dim: int, device: torch.device
) -> tuple[Tensor, Tensor, Tensor]:
    """Concatenate the embeddings, labels and ids of all batches of all processes, in the order of ranks."""
    none = torch.zeros(0, dtype=torch.int64, device=device)
    columns = zip((torch.zeros(0, dim, device=device), none, none), *batches, strict=True)
    embeddings, labels, ids = (processes.gather_rows(torch.cat(column)) for column in columns)
    return embeddings, labels, ids


def lr_factor(optim: OptimSettings, step: int) -> float:
    """Factor of the learning rate at a step: a linear warm-up, then the schedule."""
    rise = min(1.0, (step + 1) / (optim.warmup + 1))
    if optim.schedule == "constant":
        return float(rise)
    if optim.schedule == "steps":
        return float(rise * 0.1 ** sum(step >= milestone for milestone in optim.milestones))
    return float(rise) * (1 + math.cos(math.pi * min(1.0, step / optim.steps))) / 2
