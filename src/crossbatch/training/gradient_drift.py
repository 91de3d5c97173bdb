"""How far the gradient from the memory is from the one that its rows, embedded afresh, would give."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from crossbatch.cross_batch import CrossBatchLoss
from crossbatch.data.records import Part
from crossbatch.losses import PairLoss
from crossbatch.metrics.drift import AtAge, bins, gradient_error
from crossbatch.training.data_module import PKDataModule

ROWS = 2048  # of the memory, drawn at random, for one measurement


def by_age(
    embed: Callable[[Tensor], Tensor],
    loss_fn: CrossBatchLoss,
    feed: PKDataModule,
    step: int,
    batch: tuple[Tensor, Tensor, Tensor],
) -> Iterator[tuple[str, AtAge]]:
    """`gradient cosine` and `gradient error` of a batch of embeddings, labels and ids, a pair for each bin of ages.

    All anchors are compared with the rows of each bin, those too that do not count in training. The rows are embedded
    afresh without augmentation, which is part of the difference at any age. Nothing for a loss that is not ours, or an
    empty memory.
    """
    memory = loss_fn.memory
    if not isinstance(loss_fn.loss, PairLoss) or len(memory) == 0:
        return
    order = torch.randperm(len(memory), generator=torch.Generator().manual_seed(step))[:ROWS].to(memory.ids.device)
    drawn = feed.part(Part(memory.labels[order].cpu(), memory.ids[order].cpu()))
    read = [batch for batch in (drawn[number] for number in range(len(drawn))) if len(batch[1])]
    fresh = torch.cat([embed(images) for images, _, _ in read])
    order = order[torch.isin(memory.ids[order], torch.cat([ids for _, _, ids in read]).to(order.device))]
    labels, ids = memory.labels[order], memory.ids[order]
    stale, ages = memory.embeddings[order], int(loss_fn.step) - memory.steps[order]
    places = bins(ages)
    for place in places.unique():
        of = places == place
        cosine, error = gradient_error(
            loss_fn.loss, batch[0], batch[1], stale[of], fresh[of], labels[of], ids=batch[2], ref_ids=ids[of]
        )
        among = ages[of]
        first, last, mean = int(among.min()), int(among.max()), float(among.float().mean())
        yield "gradient cosine", AtAge(first, last, mean, len(among), cosine)
        yield "gradient error", AtAge(first, last, mean, len(among), error)
