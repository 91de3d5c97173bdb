"""Every network, ours or timm's, gives unit embeddings of the length asked for."""

import pytest
import timm
import torch
from torch.testing import assert_close

from crossbatch.errors import SettingError
from crossbatch.models.embedder import build, image_settings

# Small ones that differ in what stands between the last features and the output.
BACKBONES = ["small", "mobilenetv3_small_050", "resnet10t", "lcnet_035"]


@pytest.mark.parametrize("backbone", BACKBONES)
@pytest.mark.parametrize("channels", [1, 3])
def test_embeddings_are_unit_rows_of_the_length_asked_for(backbone: str, channels: int) -> None:
    model = build(backbone, 24, channels).eval()
    embeddings = model(torch.randn(3, channels, 40, 33))
    assert embeddings.shape == (3, 24)
    assert_close(embeddings.norm(dim=1), torch.ones(3))
    assert not torch.equal(embeddings[0], embeddings[1])


@pytest.mark.parametrize("backbone", ["vgg11", "efficientvit_b0", "vit_tiny_patch16_224", "convnext_atto"])
def test_the_head_fits_whatever_timm_puts_before_it(backbone: str) -> None:
    """Shapes alone, without a weight in memory."""
    with torch.device("meta"):
        assert build(backbone, 8, 3).eval()(torch.zeros(1, 3, 224, 224)).shape == (1, 8)


def test_the_small_network_takes_any_image_size() -> None:
    model = build("small", 8, 1).eval()
    assert [len(model(torch.randn(2, 1, side, side))) for side in (1, 8, 32, 65)] == [2] * 4


def test_every_weight_learns() -> None:
    model = build("small", 8, 1)
    (model(torch.randn(4, 1, 16, 16)) @ torch.randn(8)).sum().backward()
    assert all(weight.grad is not None and weight.grad.abs().sum() > 0 for weight in model.parameters())


def test_the_seed_decides_the_weights() -> None:
    models = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        models.append(build("small", 8, 1).head.weight)
    assert torch.equal(models[0], models[1])
    assert not torch.equal(models[0], models[2])


def test_the_settings_of_a_backbone_are_timms() -> None:
    config = image_settings("mobilenetv3_small_050")
    assert config["input_size"] == (3, 224, 224)
    assert config["mean"] == (0.485, 0.456, 0.406)
    assert config["crop_pct"] == 0.875


def test_an_unknown_backbone_is_refused_with_near_names() -> None:
    with pytest.raises(SettingError, match=r"no backbone 'resnet_50': did you mean .*resnet50"):
        build("resnet_50", 8, 3)
    with pytest.raises(SettingError, match=r"no backbone 'smal': did you mean (.* or )?small"):
        build("smal", 8, 3)
    with pytest.raises(SettingError, match=r"no backbone 'qqqqqq': name a timm model, or small$"):
        image_settings("qqqqqq")


def test_unknown_weights_of_a_backbone_are_refused() -> None:
    for make in (lambda name: build(name, 8, 3), image_settings):
        with pytest.raises(
            SettingError, match=r"timm cannot build the backbone resnet10t.nonsense: .*tag \(nonsense\)"
        ):
            make("resnet10t.nonsense")


@pytest.mark.parametrize("error", [OSError("no network\nat all"), RuntimeError("no network\nat all")])
def test_weights_that_cannot_be_fetched_are_refused_in_a_line(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(timm, "create_model", fail)
    way_out = "connect to a network, or leave --model.pretrained out"
    with pytest.raises(SettingError, match=rf"weights of resnet10t could not be fetched \(no network\): {way_out}$"):
        build("resnet10t", 8, 3, pretrained=True)


def test_refuses_what_cannot_be_built() -> None:
    with pytest.raises(SettingError, match=r"at least 1 dimension, got --model.dim 0"):
        build("small", 0, 3)
    with pytest.raises(SettingError, match="the small network has no pretrained weights: name a timm backbone"):
        build("small", 8, 3, pretrained=True)
