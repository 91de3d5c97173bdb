"""Tests that declared costs add up like their functions, and exponentials with and without subtracting the maximum."""

import pytest
import torch
from torch.nn.functional import normalize
from torch.testing import assert_close

from crossbatch.losses.engine import costs
from crossbatch.losses.engine.costs import Above, Exponent, Written
from crossbatch.losses.engine.sides import Streamed
from crossbatch.losses.engine.triplets import Triplets
from crossbatch.losses.pairing import Pairing

COSTS = [Above(0.2), Above(0.2, weigh=True), Above(0.9), Exponent(16.0, 0.5), Exponent(300.0), Exponent(50.0, 0.1)]


@pytest.mark.parametrize(
    "cost", [*COSTS, Triplets(0.3), Triplets(0.3, semi_hard=True), Triplets(0.2, weigh=True)], ids=str
)
@pytest.mark.parametrize("positives", [1, 40])
def test_a_declared_cost_adds_up_as_its_function_does(cost: costs.Declared, positives: int) -> None:
    torch.manual_seed(0)
    anchors, refs = normalize(torch.randn(5, 4).double()).requires_grad_(), normalize(torch.randn(60, 4).double())
    streamed = Streamed(anchors, refs, Pairing(torch.zeros(5).long(), torch.arange(60) % 2), (), 13)
    context = [(torch.rand(5, positives).double() * 2 - 1).sort(1).values] if isinstance(cost, Triplets) else []
    if cost == Exponent(50.0, 0.1):
        context = [torch.full((5,), 0.3).double()]
    context = [each.requires_grad_(isinstance(cost, Triplets)) for each in context]
    found = []
    for one in (cost, Written(cost, -1.0, cost.log)):
        sums = streamed.negatives(one, *context)
        leaves = [anchors, *(each for each in context if each.requires_grad)]
        found.append([sums.total, sums.weight, sums.pairs, *torch.autograd.grad(sums.total.sum(), leaves)])
    for ours, plain in zip(*found, strict=True):
        assert_close(ours, plain)


def test_exponentials_are_the_same_with_and_without_a_greatest_one(monkeypatch: pytest.MonkeyPatch) -> None:
    anchors, refs = normalize(torch.randn(5, 4).double()).requires_grad_(), normalize(torch.randn(60, 4).double())
    streamed = Streamed(anchors, refs, Pairing(torch.zeros(5).long(), torch.arange(60) % 2), (), 13)
    found = []
    for safe in (70.0, 0.0):
        monkeypatch.setattr(costs, "SAFE", safe)
        total = streamed.negatives(Exponent(16.0, 0.5)).total
        found.append([total, *torch.autograd.grad(total.sum(), anchors)])
    for ours, plain in zip(*found, strict=True):
        assert_close(ours, plain)
