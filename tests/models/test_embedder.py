"""Tests that every network, ours or timm's, gives unit embeddings of the requested length."""

import pytest
import torch
from torch.testing import assert_close

from crossbatch.errors import SettingError
from crossbatch.models.embedder import build

# Small networks that differ in the layers between the last features and the output.
BACKBONES = ["small", "googlenet", "bn_inception", "mobilenetv3_small_050", "resnet10t", "lcnet_035"]


@pytest.mark.parametrize("backbone", BACKBONES)
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("pooling", [None, "max"])
def test_embeddings_are_unit_rows_of_the_length_asked_for(backbone: str, channels: int, pooling: str | None) -> None:
    model = build(backbone, 24, channels, pooling=pooling).eval()
    embeddings = model(torch.randn(3, channels, 40, 33))
    assert embeddings.shape == (3, 24)
    assert_close(embeddings.norm(dim=1), torch.ones(3))
    assert not torch.equal(embeddings[0], embeddings[1])


@pytest.mark.parametrize("backbone", ["vgg11", "efficientvit_b0", "vit_tiny_patch16_224", "convnext_atto"])
def test_the_head_fits_whatever_timm_puts_before_it(backbone: str) -> None:
    """Checks only shapes, with no weights in memory."""
    with torch.device("meta"):
        assert build(backbone, 8, 3).eval()(torch.zeros(1, 3, 224, 224)).shape == (1, 8)


def test_the_small_network_takes_any_image_size() -> None:
    model = build("small", 8, 1).eval()
    assert [len(model(torch.randn(2, 1, side, side))) for side in (1, 8, 32, 65)] == [2] * 4


@pytest.mark.parametrize("pooling", [None, "max", "gem"])
def test_every_weight_learns(pooling: str | None) -> None:
    model = build("small", 8, 1, pooling=pooling)
    (model(torch.randn(4, 1, 16, 16)) @ torch.randn(8)).sum().backward()
    assert all(weight.grad is not None and weight.grad.abs().sum() > 0 for weight in model.parameters())


def test_the_seed_decides_the_weights() -> None:
    models = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        models.append(build("small", 8, 1).head.weight)
    assert torch.equal(models[0], models[1])
    assert not torch.equal(models[0], models[2])


def test_refuses_what_cannot_be_built() -> None:
    with pytest.raises(SettingError, match=r"1 to 65,536 dimensions, got --model.dim 0"):
        build("small", 0, 3)
