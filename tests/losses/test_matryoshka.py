"""Tests of the Matryoshka loss: the mean of a loss over embeddings cut at each length."""

import pytest
import torch
from torch.nn.functional import normalize
from torch.testing import assert_close

from crossbatch import ContrastiveLoss, CrossBatchLoss, CrossBatchMemory, MatryoshkaLoss, MultiSimilarityLoss
from crossbatch.errors import SettingError, ShapeError


def batch(n: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(seed)
    return torch.randn(n, 6, generator=draw), torch.arange(n) % 4


@pytest.mark.parametrize("loss", [ContrastiveLoss(neg_margin=0.1), MultiSimilarityLoss()])
def test_is_the_mean_over_prefixes_of_batch_and_memory_alike(loss: torch.nn.Module) -> None:
    """The memory stores whole rows, and each prefix is scaled to unit length again."""
    first, second = batch(12, 0), batch(8, 1)
    joined = CrossBatchLoss(MatryoshkaLoss(loss, [2, 6]), CrossBatchMemory(20, 6))
    joined(*first)
    assert_close(joined.memory.embeddings, normalize(first[0]))
    embeddings = second[0].requires_grad_()
    value = joined(embeddings, second[1])
    plain = torch.stack(
        [
            loss(embeddings[:, :dim], second[1])
            + loss(embeddings[:, :dim], second[1], ref_emb=first[0][:, :dim], ref_labels=first[1])
            for dim in (2, 6)
        ]
    ).mean()
    assert_close(value, plain)
    ours, theirs = (torch.autograd.grad(one, embeddings, retain_graph=True)[0] for one in (value, plain))
    assert_close(ours, theirs)


def test_takes_any_loss_and_tells_of_whole_embeddings() -> None:
    embeddings, labels = batch(12, 0)
    loss = ContrastiveLoss(neg_margin=0.1)
    cut = MatryoshkaLoss(loss, [2, 6])
    cut(embeddings, labels)
    told = {name: float(value) for name, value in cut.stats.items()}
    loss(embeddings, labels)
    assert told == {name: float(value) for name, value in loss.stats.items()}
    assert_close(MatryoshkaLoss(loss, [6])(embeddings, labels), loss(embeddings, labels))


def test_refuses_lengths_that_are_none() -> None:
    for dims in ([], [0, 6], [6, 2], [2, 2]):
        with pytest.raises(SettingError, match="dims are lengths of at least 1, ascending"):
            MatryoshkaLoss(ContrastiveLoss(), dims)
    with pytest.raises(ShapeError, match=r"dims \[2, 4\] end at 4, and embeddings have 6"):
        MatryoshkaLoss(ContrastiveLoss(), [2, 4])(*batch(8, 0))
