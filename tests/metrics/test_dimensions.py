"""Effective dimensions of embeddings whose spread is known."""

import pytest
import torch
from torch.nn.functional import normalize

from crossbatch.metrics.dimensions import effective_dimensions


@pytest.mark.parametrize("filled", [1, 3, 16])
def test_as_many_as_vary(filled: int) -> None:
    rows = torch.zeros(20_000, 16)
    rows[:, :filled] = torch.randn(20_000, filled)
    turn = torch.linalg.qr(torch.randn(16, 16)).Q
    assert effective_dimensions(rows @ turn + 5) == pytest.approx(filled, rel=0.01)


def test_unequal_directions_count_for_less() -> None:
    rows = torch.randn(50_000, 2) * torch.tensor([2.0, 1.0])
    assert effective_dimensions(rows) == pytest.approx(25 / 17, rel=0.02)


@pytest.mark.parametrize("dim", [1, 8])
def test_one_point_has_none(dim: int) -> None:
    assert effective_dimensions(normalize(torch.ones(10, dim)) + 1e-8 * torch.randn(10, dim)) == 0
