"""What a block adds up to, however it lies in memory."""

import pytest
import torch

from crossbatch.losses.columns import pair_max, pair_sum, product, weighted_sum
from crossbatch.losses.sums import log_sum


@pytest.mark.parametrize("columns", [1, 7, 64, 101])
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_columns_are_reduced_alike_row_by_row_and_column_by_column(
    columns: int, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    pairs = torch.randn(columns, 5, dtype=torch.float64).T
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    torch.testing.assert_close(pair_sum(pairs), pairs.contiguous().sum(1))
    assert pair_max(pairs).equal(pairs.contiguous().amax(1))
    rows = torch.randn(columns, 3, dtype=torch.float64)
    torch.testing.assert_close(weighted_sum(pairs, rows), pairs.contiguous() @ rows)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_a_product_is_written_where_it_should_be(dtype: torch.dtype) -> None:
    anchors, rows, memory = torch.eye(3, 4, dtype=dtype), torch.randn(5, 4).to(dtype), torch.empty(20, dtype=dtype)
    found = product(anchors, rows, memory)
    assert found.data_ptr() == memory.data_ptr()
    assert found.equal(rows.T[:3])


@pytest.mark.parametrize("slope", [-16.0, 16.0])
def test_a_sum_of_exponentials_is_the_same_with_and_without_a_greatest_one(slope: float) -> None:
    similarities = torch.rand(4, 30, dtype=torch.float64) * 2 - 1
    similarities[0] = -torch.inf * slope  # no pair at all
    similarities[1, 7:] = -torch.inf * slope
    at_once, shifted = (log_sum(similarities.clone(), slope, 0.5, bound) for bound in (1, 1000))
    for part in (at_once, shifted):
        assert part.total is not None and part.scale is not None and part.weights is not None  # noqa: PT018
        expected = (slope * (similarities - 0.5)).logsumexp(1)
        torch.testing.assert_close(part.scale + part.total.log(), expected)
        shares = part.weights / part.total[:, None]
        torch.testing.assert_close(shares[1:], (slope * similarities).softmax(1)[1:])
    assert shifted.scale is not None and not at_once.scale.equal(shifted.scale)  # noqa: PT018
