"""Tests of generalised-mean pooling: between the mean and the maximum, and learnable."""

from itertools import pairwise

import pytest
import torch
from torch.testing import assert_close

from crossbatch.errors import SettingError
from crossbatch.models.pooling import GeneralizedMean, generalized_mean, pooling_by_name


@pytest.fixture
def maps() -> torch.Tensor:
    return torch.rand(2, 5, 3, 4) + 0.1


def test_average_and_maximum_are_over_all_places(maps: torch.Tensor) -> None:
    assert_close(pooling_by_name("avg", maps.shape[1])[0](maps), maps.mean((2, 3)))
    assert_close(pooling_by_name("max", maps.shape[1])[0](maps), maps.amax((2, 3)))


def test_the_generalized_mean_goes_from_the_mean_to_the_maximum(maps: torch.Tensor) -> None:
    assert_close(generalized_mean(maps, torch.tensor(1.0)), maps.mean((2, 3)))
    powers = [generalized_mean(maps, torch.tensor(power)) for power in (1.0, 3.0, 10.0, 60.0)]
    assert all((lower < higher).all() for lower, higher in pairwise(powers))
    assert_close(powers[-1], maps.amax((2, 3)), atol=0, rtol=0.05)
    assert (powers[-1] <= maps.amax((2, 3))).all()


def test_a_value_by_hand() -> None:
    maps = torch.tensor([1.0, 2.0, 3.0, 0.0]).view(1, 1, 2, 2)
    assert_close(GeneralizedMean()(maps), torch.tensor([[9 ** (1 / 3)]]))  # the mean of the cubes 1, 8, 27 and 0 is 9


def test_it_grows_with_its_maps_and_cuts_off_what_is_below_0(maps: torch.Tensor) -> None:
    pool = GeneralizedMean()
    assert_close(pool(maps * 7), pool(maps) * 7)
    assert_close(pool(-maps), torch.full((2, 5), 1e-6))


def test_its_power_learns_also_where_everything_is_0() -> None:
    pool, maps = GeneralizedMean(), torch.zeros(2, 3, 2, 2, requires_grad=True)
    pool(maps).sum().backward()
    assert pool.power.grad.isfinite()
    assert maps.grad.isfinite().all()
    pool(torch.rand(2, 3, 2, 2)).sum().backward()
    assert pool.power.grad > 0


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_no_worse_than_its_maps(dtype: torch.dtype) -> None:
    """The cubes of 60 and of 0.001 are outside the range of float16."""
    maps = torch.rand(2, 5, 3, 4).mul(60).add(0.001).to(dtype)
    pooled = GeneralizedMean()(maps)
    assert pooled.dtype == dtype
    assert_close(pooled.float(), GeneralizedMean()(maps.float()), atol=0, rtol=torch.finfo(dtype).eps)
    assert (GeneralizedMean()(torch.full((1, 1, 2, 2), 0.001, dtype=dtype)) > 0).all()


def test_an_unknown_pooling_is_refused() -> None:
    with pytest.raises(SettingError, match="no pooling 'mean': choose one of avg, max, gem"):
        pooling_by_name("mean", 4)


@pytest.mark.parametrize("size", [(2, 2), (4, 6), (5, 3), (1, 1)])
def test_a_grid_keeps_the_quarters_of_an_image_apart(size: tuple[int, int]) -> None:
    pool, features = pooling_by_name("grid", 3)
    maps = torch.rand(8, 3, *size)
    pooled = pool.eval()(maps)
    assert features == pooled.shape[1] == 12
    assert_close(pooled.view(8, 3, 2, 2), torch.nn.functional.adaptive_avg_pool2d(maps, 2), rtol=1e-4, atol=1e-4)
    assert_close(pool.train()(maps).mean(0), torch.zeros(12), rtol=0, atol=1e-5)
