"""Tests of `Pairing`: label comparison is exact for any int64, and unknown ids are no copies."""

import pytest
import torch

from crossbatch.losses.pairing import LAST_BITS, Pairing, _isin


@pytest.mark.parametrize("least", [-(2**62), -5, 0, 2**62])
@pytest.mark.parametrize("spread", [1, 3, LAST_BITS + 1, 2**40])
def test_few_values_are_found_among_many(least: int, spread: int) -> None:
    draw = torch.Generator().manual_seed(spread % 1000)
    values = least + torch.randint(spread, (5000,), generator=draw)
    few = values[torch.randint(5000, (20,), generator=draw)]
    assert torch.equal(_isin(values, few), torch.isin(values, few))
    assert not _isin(values, few[:0]).any()


def test_equal_last_bits_are_not_equal_labels() -> None:
    values = torch.arange(4) * (LAST_BITS + 1)
    assert _isin(values, values[1:2]).tolist() == [False, True, False, False]


@pytest.mark.parametrize("unknown", [-1, -2, -7])
def test_an_id_below_zero_is_of_no_known_image(unknown: int) -> None:
    ids = torch.full((6,), unknown)
    found = Pairing.within(torch.arange(6) % 2, ids).masks()
    wanted = Pairing.within(torch.arange(6) % 2).masks()
    assert all(torch.equal(one, other) for one, other in zip(found, wanted, strict=True))
