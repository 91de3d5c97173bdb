"""Tests that the shards of several processes together hold what one memory holds. Each process is simulated in turn."""

from collections import deque
from typing import ClassVar

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pytorch_metric_learning import losses as theirs
from torch import nn

from crossbatch import ContrastiveLoss, CrossBatchLoss, CrossBatchMemory, Following
from crossbatch.errors import SettingError
from crossbatch.interop.pytorch_metric_learning import PMLLoss
from crossbatch.losses import MatryoshkaLoss
from crossbatch.processes import Processes, part


class Played(Processes):
    """One of several processes, simulated without communication."""

    rank, count = 0, 1

    def __init__(self, rank: int, count: int) -> None:
        super().__init__()
        self.rank, self.count = rank, count


def shard(size: int, rank: int, count: int) -> CrossBatchMemory:
    memory = CrossBatchMemory(size, dim=2, sharded=True)
    memory.processes = Played(rank, count)
    return memory


@given(size=st.integers(1, 12), count=st.integers(2, 5), batches=st.lists(st.integers(0, 15), min_size=1, max_size=8))
def test_the_shards_hold_what_a_ring_holds(size: int, count: int, batches: list[int]) -> None:
    """For any size and number of processes, each row is in one shard, in its returned slot, and found by its id."""
    kept, shards = deque(maxlen=size), [shard(size, rank, count) for rank in range(count)]
    first = 0
    for n in batches:
        ids = torch.arange(first, first + n)
        kept.extend(ids.tolist())
        slots = [one.enqueue(torch.randn(n, 2), ids % 3, ids=ids) for one in shards]
        for one, found in zip(shards, slots, strict=True):
            assert torch.equal(one._ids[found[found >= 0]], ids[found >= 0])
        first += n
    assert sorted(id_ for one in shards for id_ in one.ids.tolist()) == sorted(kept)
    assert sum(map(len, shards)) == len(kept)
    assert sum(one.capacity for one in shards) == size
    for one in shards:
        assert torch.equal(one.labels, one.ids % 3)
        rows = one.in_use()
        assert (int(rows.live.sum()) if rows.live is not None else len(rows.ids)) == len(one)
        found = one.lookup(torch.arange(first))
        assert sorted(found.ids[found.slots >= 0].tolist()) == sorted(one.ids.tolist())


def test_a_checkpoint_of_the_whole_is_divided() -> None:
    whole = CrossBatchMemory(7, dim=2)
    whole.enqueue(torch.randn(11, 2), torch.arange(11), ids=torch.arange(11) + 100)
    shards = [shard(7, rank, 3) for rank in range(3)]
    for one in shards:
        one._load_from_state_dict(whole.state_dict(), "", {}, True, [], [], [])
    assert sorted(id_ for one in shards for id_ in one.ids.tolist()) == sorted(whole.ids.tolist())
    for one in (whole, *shards):
        one.enqueue(torch.randn(2, 2), torch.arange(2), ids=torch.arange(2))
    assert sorted(id_ for one in shards for id_ in one.ids.tolist()) == sorted(whole.ids.tolist())


def test_a_shard_does_not_become_another_with_rows_in_it() -> None:
    memory = shard(8, 0, 2)
    memory.enqueue(torch.randn(3, 2), torch.arange(3))
    memory.processes = Played(0, 3)
    with pytest.raises(SettingError, match="this memory holds shard 0 of 2, and there are 3 processes now: load a st"):
        memory.enqueue(torch.randn(3, 2), torch.arange(3))


class Other(nn.Module):
    def forward(self, embeddings, labels, ref_emb=None, ref_labels=None):
        return embeddings.sum()


class Comparing(Other):
    """A loss with its own `compare`, which wraps no other loss."""

    def compare(self, anchors, refs, pairing):
        return anchors.sum()

    stats: ClassVar[dict] = {}


OTHERS = [Other(), Comparing(), MatryoshkaLoss(Other(), [1, 2]), PMLLoss(theirs.ContrastiveLoss())]


@pytest.mark.parametrize("loss", OTHERS, ids=type)
def test_a_loss_of_another_kind_is_refused(loss: nn.Module) -> None:
    loss_fn = CrossBatchLoss(loss, CrossBatchMemory(4, 2))
    loss_fn(torch.eye(2), torch.arange(2))
    memory = shard(4, 0, 2)
    loss_fn.memory, memory.processes.gather = memory, Processes().gather
    with pytest.raises(SettingError, match=r"whose sums over the shards can be merged, got .*: subclass PairLoss"):
        loss_fn(torch.eye(2), torch.arange(2))


def test_wrappers_pass_the_memory_over_and_checkpoints_do_not() -> None:
    """DistributedDataParallel broadcasts every buffer of `named_buffers` at every step."""
    memory = CrossBatchMemory(4, 2)
    learner = nn.ModuleList([CrossBatchLoss(ContrastiveLoss(), memory), Following(memory, 3), nn.BatchNorm1d(2)])
    walked = {name for name, _ in learner.named_buffers()}
    assert "2.running_mean" in walked
    assert not any("memory._" in name or "probe" in name for name in walked)
    assert {"0.memory._embeddings", "1.probe"} <= learner.state_dict().keys()
    assert learner.to(torch.bfloat16)[1].probe.dtype == torch.float32  # stored state is not rounded
    assert dict(memory.named_buffers())["_embeddings"] is memory._embeddings


@given(length=st.integers(0, 20), count=st.integers(1, 6))
def test_parts_follow_each_other_without_a_gap(length: int, count: int) -> None:
    parts = [range(length)[part(length, rank, count)] for rank in range(count)]
    assert [number for one in parts for number in one] == list(range(length))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1
