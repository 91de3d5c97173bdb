"""Tests of folding BatchNorm into convolutions: rows stay the same, and unsuitable networks are not folded."""

import pytest
import torch
from torch import Tensor, nn

from crossbatch.encoder.folded import folded
from crossbatch.models.embedder import Embedder, build


def trained(network: nn.Module) -> nn.Module:
    """Give BatchNorm statistics and factors that differ from 0 and 1, as after training."""
    draw = torch.Generator().manual_seed(1)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            for name, least in (("running_mean", -0.5), ("running_var", 0.5), ("weight", 0.5), ("bias", -0.5)):
                getattr(module, name).data.uniform_(least, least + 1, generator=draw)
    return network.eval()


def norms(network: nn.Module) -> int:
    return sum(isinstance(module, nn.BatchNorm2d) for module in network.modules())


@pytest.mark.parametrize(
    ("backbone", "left"),
    [("small", 0), ("googlenet", 0), ("bn_inception", 0), ("tf_efficientnet_lite0", 0), ("resnet18", 0)],
)
def test_rows_are_the_same_without_a_normalisation(backbone: str, left: int) -> None:
    torch.manual_seed(0)
    network = trained(build(backbone, 16, 3, pooling="avg"))
    images = torch.randn(3, 3, 64, 48)
    without = folded(network, images[:2])
    assert norms(without) == left < norms(network)
    with torch.no_grad():
        torch.testing.assert_close(without(images), network(images), rtol=0, atol=1e-5)


def test_the_network_itself_is_left_as_it_is() -> None:
    network = trained(build("small", 16, 3, pooling="avg"))
    before = {name: value.clone() for name, value in network.state_dict().items()}
    assert folded(network, torch.randn(2, 3, 32, 32)) is not network
    assert network.state_dict().keys() == before.keys()
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_a_network_without_batch_norm_is_returned() -> None:
    network = build("vit_tiny_patch16_224", 16, 3).eval()
    assert folded(network, torch.randn(2, 3, 224, 224)) is network


class TakesBetween(nn.Module):
    """Uses the output of a convolution twice: normalised and directly."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution, self.norm = nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8)

    def forward(self, images: Tensor) -> Tensor:
        maps = self.convolution(images)
        return self.norm(maps) + maps


class Twice(nn.Module):
    """One convolution with two normalisations."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution, self.norms = nn.Conv2d(3, 8, 3), nn.ModuleList([nn.BatchNorm2d(8), nn.BatchNorm2d(8)])

    def forward(self, images: Tensor) -> Tensor:
        return self.norms[0](self.convolution(images)) + self.norms[1](self.convolution(2 * images))


class Standardised(nn.Conv2d):
    """Divides its kernels by their deviation, so scaling the weights has no effect."""

    def forward(self, images: Tensor) -> Tensor:
        return self._conv_forward(images, self.weight / self.weight.std(), self.bias)


@pytest.mark.parametrize(
    "backbone", [TakesBetween(), Twice(), nn.Sequential(Standardised(3, 8, 3, bias=False), nn.BatchNorm2d(8))]
)
def test_where_rows_would_differ_nothing_is_folded(backbone: nn.Module) -> None:
    torch.manual_seed(0)
    network = trained(Embedder(backbone, nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()), 8, 4))
    assert folded(network, torch.randn(2, 3, 16, 16)) is network
