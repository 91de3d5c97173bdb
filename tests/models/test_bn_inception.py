"""Tests that BN-Inception is the published network: its sizes, names and expected input."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch.testing import assert_close

from crossbatch.data.transforms import Preprocessing
from crossbatch.models.bn_inception import BLOCKS, IMAGE_SETTINGS, BNInception


@pytest.fixture(scope="module")
def network() -> BNInception:
    return BNInception(3).eval()


def test_it_has_as_many_weights_as_published(network: BNInception) -> None:
    """pytorchcv's tables give 11,295,240 weights, with a classifier of 1,000 classes."""
    assert sum(weight.numel() for weight in network.parameters()) + 1000 * (1024 + 1) == 11_295_240


def test_its_names_are_those_of_the_converted_weights(network: BNInception) -> None:
    names = network.state_dict()
    assert {name: list(names[name].shape) for name in list(names) if name in EXPECTED} == EXPECTED
    assert len([name for name in names if not name.endswith("num_batches_tracked")]) == 69 * 6
    assert not [name for name in names if "3c_1x1" in name or "4e_pool_proj" in name]


EXPECTED = {
    "conv1_7x7_s2.weight": [64, 3, 7, 7],
    "conv1_7x7_s2.bias": [64],
    "conv1_7x7_s2_bn.running_mean": [64],
    "conv2_3x3_reduce.weight": [64, 64, 1, 1],
    "inception_3a_1x1.weight": [64, 192, 1, 1],
    "inception_3a_double_3x3_reduce.weight": [64, 192, 1, 1],
    "inception_3a_double_3x3_1_bn.weight": [96],
    "inception_3c_double_3x3_2.weight": [96, 96, 3, 3],
    "inception_4e_3x3.weight": [192, 128, 3, 3],
    "inception_5a_1x1.weight": [352, 1056, 1, 1],
    "inception_5b_pool_proj_bn.running_var": [128],
}


def test_every_block_has_its_width_and_resolution(network: BNInception) -> None:
    x, shapes = torch.rand(1, 192, 28, 28), []
    for block in BLOCKS:
        x = network._run_block(x, block)
        shapes.append(tuple(x.shape[1:3]))
    widths = (256, 320, 576, 576, 576, 608, 608, 1056, 1024, 1024)
    assert shapes == list(zip(widths, (28, 28, *(14,) * 5, *(7,) * 3), strict=True))


@pytest.mark.parametrize("side", [8, 33, 40, 65])
def test_any_size_works(network: BNInception, side: int) -> None:
    maps = network(torch.zeros(1, 3, side, side + 1))
    assert maps.shape[:2] == (1, 1024)
    assert maps.min() == 0


def test_its_last_pooling_is_a_maximum(network: BNInception) -> None:
    """It is the only maximum among the poolings that keep the resolution. Published weights need it."""
    assert [block.name for block in BLOCKS if block.pool == "max" and block.projected] == ["5b"]


def test_the_network_sees_blue_first_in_0_to_255_less_the_means(network: BNInception) -> None:
    pixel = np.array([[[10, 20, 30]]], dtype=np.uint8).repeat(8, 0).repeat(8, 1)
    prepared = Preprocessing(8, 8, 3, IMAGE_SETTINGS["mean"], IMAGE_SETTINGS["std"])
    images = prepared.tensor([Image.fromarray(pixel)])
    seen = []
    hook = network.conv1_7x7_s2.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    network(images)
    hook.remove()
    wanted = torch.tensor([30 - 104.0, 20 - 117.0, 10 - 128.0])
    assert_close(seen[0][0, :, 0, 0], wanted, atol=1e-4, rtol=0)


def test_its_normalisation_is_torch_s_own(network: BNInception) -> None:
    norms = [module for module in network.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    assert {(norm.eps, norm.momentum) for norm in norms} == {(1e-5, 0.1)}
