"""Tests of the effective dimensions of embeddings with a known spread."""

import pytest
import torch
from torch.nn.functional import normalize

from crossbatch.errors import DivergedError
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


@pytest.mark.parametrize("scale", [1e-5, 1.0, 1e5])
def test_the_scale_does_not_matter_and_what_is_not_finite_is_refused(scale: float) -> None:
    rows = torch.randn(50, 4)
    assert effective_dimensions(scale * rows) == pytest.approx(effective_dimensions(rows), rel=1e-4)
    with pytest.raises(DivergedError, match="some embeddings are not finite"):
        effective_dimensions(rows / 0)
