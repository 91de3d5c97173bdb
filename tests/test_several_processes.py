"""Tests that several processes train like one process on the joined batches, with a whole or a sharded memory."""

from typing import Any

import pytest
import torch
import torch.distributed as dist
from pytorch_metric_learning.losses import TripletMarginLoss
from pytorch_metric_learning.miners import MultiSimilarityMiner
from together import together
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.testing import assert_close

from crossbatch import ContrastiveLoss, CrossBatchLoss, CrossBatchMemory
from crossbatch.errors import SettingError
from crossbatch.interop.pytorch_metric_learning import PMLLoss
from crossbatch.losses import LOSSES, MatryoshkaLoss

DIM, ROWS = 6, 37
CUTS = ((0, 0, 1), (1, 3, 3), (2, 1, 0), (5, 2, 4), (0, 4, 1))  # sizes of the processes' shares, some of them empty


class Learner(nn.Module):
    """A network and its loss in one module, as in a LightningModule."""

    def __init__(self, loss_fn: nn.Module) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.network = nn.Sequential(nn.Linear(DIM, 8), nn.Tanh(), nn.Linear(8, DIM)).double()
        self.loss_fn = loss_fn.double()  # changes the parameters of the loss, but not the memory

    def forward(self, inputs: Tensor, labels: Tensor, ids: Tensor | None) -> Tensor:
        return self.loss_fn(self.network(inputs), labels, ids=ids)


def batch(step: int, count: int, rank: int) -> tuple[Tensor, Tensor, Tensor]:
    """The share of this process in the batch of a step. A single process gets the whole batch."""
    cuts = torch.tensor(CUTS[step % len(CUTS)])
    draw = torch.Generator().manual_seed(step)
    ids = torch.randint(30, (int(cuts.sum()),), generator=draw)
    inputs = torch.randn(len(ids), DIM, generator=draw, dtype=torch.float64) + nn.functional.one_hot(ids % 6, DIM)
    own = slice(None)
    if count == 2:
        own = [slice(0, int(cuts[0])), slice(int(cuts[0]), None)][rank]
    if count == 3:
        ends = cuts.cumsum(0).tolist()
        own = slice(ends[rank] - int(cuts[rank]), ends[rank])
    return inputs[own], (ids % 6)[own], ids[own]


def trained(steps: int, name: str, sharded: bool, earlier_only: bool, known: bool) -> dict[str, Any]:
    """Train with SGD. Return the parameters, the memory and the loss of each step."""
    count, rank = (dist.get_world_size(), dist.get_rank()) if dist.is_initialized() else (1, 0)
    memory = CrossBatchMemory(ROWS, DIM, sharded=sharded)
    warmup = 2 if known else 0  # 0: the memory counts from the first step, while it is empty
    loss_fn = CrossBatchLoss(
        loss_named(name), memory, memory_weight=0.7, warmup_steps=warmup, earlier_only=earlier_only
    )
    learner = Learner(loss_fn)
    model = DistributedDataParallel(learner) if count > 1 else learner
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    losses = []
    for step in range(steps):
        inputs, labels, ids = batch(step, count, rank)
        loss = model(inputs, labels, ids if known else None)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    rows = {"steps": memory.steps, "ids": memory.ids}
    parameters = {name: one.detach() for name, one in learner.named_parameters()}
    return {"parameters": parameters, "memory": memory.state_dict(), "here": rows, "losses": losses}


class Plain(nn.Module):
    """A loss from outside the package that is not a mean over anchors."""

    def forward(self, embeddings: Tensor, labels: Tensor, ref_emb: Any = None, ref_labels: Any = None) -> Tensor:
        refs, named = (embeddings, labels) if ref_emb is None else (ref_emb.to(embeddings), ref_labels)
        apart = 1 - embeddings @ refs.T
        same = labels[:, None] == named
        return apart[same].sum() / max(1, same.sum()) + (0.8 - apart)[~same].relu().sum() / max(1, (~same).sum())


OTHERS = {
    "plain": Plain,
    "cut": lambda: MatryoshkaLoss(Plain(), [3, DIM]),
    "theirs": lambda: PMLLoss(TripletMarginLoss(), MultiSimilarityMiner()),
}


def loss_named(name: str) -> nn.Module:
    return OTHERS[name]() if name in OTHERS else LOSSES[name]()


FEW = [
    ("margin", False, True, True),
    ("triplet", True, False, True),
    *[(name, False, True, True) for name in OTHERS],
]
ALL = [
    *[(name, sharded, True, True) for name in LOSSES for sharded in (False, True)],
    *[(name, sharded, False, True) for name in ("contrastive", "triplet") for sharded in (False, True)],
    *[("multi-similarity", sharded, True, False) for sharded in (False, True)],
    ("plain", False, True, True),
]
Cases = list[tuple[str, bool, bool, bool]]


def all_trained(steps: int, cases: Cases) -> list[dict[str, Any]]:
    return [trained(steps, *case) for case in cases]


long = pytest.mark.long


@pytest.mark.parametrize(
    ("count", "steps", "cases"),
    [(2, 12, FEW), (3, 12, FEW), pytest.param(2, 20, ALL, marks=long), pytest.param(3, 20, ALL, marks=long)],
)
def test_what_they_learn_and_remember_is_what_one_does(count: int, steps: int, cases: Cases) -> None:
    """All losses, with whole and sharded memory, and with batches that differ in size and can be empty."""
    every, alone = together(count, all_trained, steps, cases), all_trained(steps, cases)
    for number, case in enumerate(cases):
        wanted, found = alone[number], [one[number] for one in every]
        for one in found:
            assert_close(one["parameters"], wanted["parameters"], atol=1e-10, rtol=0, msg=str(case))
            for name in ("_labels", "_ids", "_steps", "_written"):
                assert torch.equal(one["memory"][name], wanted["memory"][name])
            assert torch.equal(one["memory"]["_embeddings"], found[0]["memory"]["_embeddings"])
            assert_close(one["memory"]["_embeddings"], wanted["memory"]["_embeddings"], atol=1e-6, rtol=0)
        assert_close(torch.tensor([one["losses"] for one in found]).mean(0), torch.tensor(wanted["losses"]))
        here = [len(one["here"]["ids"]) for one in found]
        assert here == ([len(range(rank, ROWS, count)) for rank in range(count)] if case[1] else [ROWS] * count)


def refused() -> list[str]:
    """What a call says where the first process passes other embeddings than the second."""
    loss_fn, told, first = CrossBatchLoss(ContrastiveLoss(), CrossBatchMemory(8, 4)), [], dist.get_rank() == 0
    precision = torch.float32 if first else torch.float64
    for rows in (torch.randn(4, 4, dtype=precision), torch.randn(4, 4).requires_grad_(first)):
        with pytest.raises(SettingError) as error:
            loss_fn(rows, torch.arange(4) // 2)
        told.append(str(error.value))
    for mode, size in ((first, 8), (True, 8 + first)):
        loss_fn = CrossBatchLoss(ContrastiveLoss(), CrossBatchMemory(size, 4)).train(mode)
        with pytest.raises(SettingError) as error:
            loss_fn(torch.randn(4, 4), torch.arange(4) // 2)
        told.append(str(error.value))
    return told


def test_embeddings_that_differ_in_kind_are_refused_in_every_process() -> None:
    for precision, gradient, mode, size in together(2, refused):
        assert mode == "training mode differs between the processes (1, 0): make it the same in all of them"
        assert size == "the size of the memory differs between the processes (9, 8): make it the same in all of them"
        assert precision == "embeddings are float32 in some processes and float64 in others: cast them alike"
        assert gradient.startswith("in 1 of 2 processes embeddings require no gradient, in the others they do")
