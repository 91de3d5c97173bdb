"""Tests that our GoogLeNet gives the same features as torchvision's before its classifier."""

import pytest
import torch
from torch.testing import assert_close
from torchvision import models
from torchvision.transforms.functional import normalize

from crossbatch.models.googlenet import IMAGE_SETTINGS, GoogLeNet


@pytest.fixture(scope="module")
def theirs() -> models.GoogLeNet:
    torch.manual_seed(0)
    network = models.googlenet(aux_logits=False, init_weights=False)
    network.fc = torch.nn.Identity()
    return network.eval()


def ours(theirs: models.GoogLeNet, channels: int = 3) -> GoogLeNet:
    network = GoogLeNet(channels)
    state = {name: value for name, value in theirs.state_dict().items() if channels == 3 or name != FIRST}
    told = network.load_state_dict(state, strict=False)
    assert not told.unexpected_keys
    assert told.missing_keys == ([] if channels == 3 else [FIRST])
    return network.eval()


FIRST = "conv1.conv.weight"


def test_its_features_are_theirs(theirs: models.GoogLeNet) -> None:
    images = torch.randn(2, 3, 40, 64)
    assert_close(ours(theirs)(images).mean((2, 3)), theirs(images))


def test_values_in_minus_1_to_1_are_what_their_weights_want(
    theirs: models.GoogLeNet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """torchvision normalises with ImageNet's statistics, and the network converts the values back to −1 … 1."""
    monkeypatch.setattr(theirs, "transform_input", True)
    images = torch.rand(2, 3, 32, 32)
    imagenet = normalize(images, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    own = normalize(images, list(IMAGE_SETTINGS["mean"]), list(IMAGE_SETTINGS["std"]))
    assert_close(ours(theirs)(own).mean((2, 3)), theirs(imagenet), atol=1e-5, rtol=1e-4)


def test_grey_gives_what_equal_red_green_and_blue_give() -> None:
    torch.manual_seed(0)
    coloured = GoogLeNet(3).eval()
    torch.manual_seed(0)
    grey = GoogLeNet(1).eval()
    images = torch.randn(2, 1, 32, 32)
    assert_close(grey(images), coloured(images.expand(-1, 3, -1, -1)), atol=1e-5, rtol=1e-4)
    assert grey.conv1.conv.weight.requires_grad
