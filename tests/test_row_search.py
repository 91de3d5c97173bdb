"""Tests that one search in a packed table equals a search in each row."""

import pytest
import torch

from crossbatch.row_search import pack, places


@pytest.mark.parametrize("right", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_each_value_is_found_in_its_own_row(right: bool, dtype: torch.dtype) -> None:
    """Some values occur in the table, and some rows end in infinities."""
    table = (torch.rand(7, 5, dtype=dtype) * 4 - 2).sort(1).values
    table[2, 3:] = torch.inf
    table[5] = torch.inf
    rows = torch.randint(7, (200,))
    values = torch.where(torch.rand(200) < 0.5, table[rows, 1].clamp(max=2), torch.rand(200, dtype=dtype) * 4 - 2)
    expected = [
        int(torch.searchsorted(table[row], value, right=right)) for row, value in zip(rows, values, strict=True)
    ]
    assert (places(pack(table), rows, values, right=right) - 5 * rows).tolist() == expected


def test_values_that_float32_tells_apart_stay_apart_in_the_last_of_many_rows() -> None:
    table = torch.zeros(1_000_000, 2)
    table[-1] = torch.tensor([0.5, 0.5 + 2**-24])
    last, value = torch.tensor([999_999]), torch.tensor([0.5 + 2**-24])
    assert int(places(pack(table), last, value)) == 2_000_000 - 1
