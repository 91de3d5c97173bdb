"""Use CrossBatchMemory of pytorch-metric-learning in our runs, or another loss for the memory term alone."""

from typing import Any

import torch
from pytorch_metric_learning import losses, miners
from torch import Tensor, nn

from crossbatch.losses import Pairing
from crossbatch.losses.comparing import Comparing

LOSSES = {
    "multi-similarity": lambda: (losses.MultiSimilarityLoss(), miners.MultiSimilarityMiner(epsilon=0.1)),
    "contrastive": lambda: (losses.ContrastiveLoss(), None),
    "sup-con": lambda: (losses.SupConLoss(), None),
}


class Peer(nn.Module):
    """Their memory with one of their losses, called like the loss of a run. It is used from the first step."""

    def __init__(self, arm: str, dim: int, images: int) -> None:
        super().__init__()
        name, size = arm.removeprefix("peer ").split(", ", 1)
        loss, miner = LOSSES[name]()
        rows = min(1024, images) if size == "memory of 1,024" else images
        self.memory = losses.CrossBatchMemory(loss, dim, memory_size=rows, miner=miner)
        self.stats: dict[str, Tensor] = {}

    def forward(self, embeddings: Tensor, labels: Tensor, *, ids: Tensor | None = None) -> Tensor:  # noqa: ARG002
        """Their loss of the batch against their memory, which then includes the batch. `ids` are ignored."""
        loss: Tensor = self.memory(embeddings, labels)
        return loss


class OfMemory(Comparing):
    """One loss within the batch and another against the memory."""

    def __init__(self, within: Any, against: Any) -> None:
        super().__init__()
        self.within, self.against = within, against
        self.mean_over_anchors = True

    def compare(self, anchors: Tensor, refs: Tensor, pairing: Pairing) -> Tensor:
        """Use `within` if the batch is compared with itself, and `against` if it is compared with the memory."""
        loss = self.within if refs is anchors else self.against
        value: Tensor = loss.compare(anchors, refs, pairing)
        self.per_anchor = loss.per_anchor
        return value


def agreement(loss_fn: Any, embeddings: Tensor, labels: Tensor, ids: Tensor | None) -> float:
    """Cosine between the gradients of the batch term and the memory term with respect to the embeddings."""
    with torch.enable_grad():
        rows = embeddings.detach().clone().requires_grad_()
        anchors, held = nn.functional.normalize(rows), loss_fn.memory.in_use()
        pairing = Pairing(labels, held.labels, ids, held.ids, None, held.live, loss_fn.earlier_only)
        terms = (
            loss_fn.loss.compare(anchors, anchors, Pairing.within(labels, ids)),
            loss_fn.loss.compare(anchors, held.embeddings, pairing),
        )
        one, other = (torch.autograd.grad(term, rows, retain_graph=True)[0].flatten() for term in terms)
    return float(nn.functional.cosine_similarity(one, other, dim=0))
