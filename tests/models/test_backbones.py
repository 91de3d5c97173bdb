"""Tests of backbones by name: output, pooling and expected input; and of names that do not exist."""

import huggingface_hub
import pytest
import timm
import torch
from torch import nn
from torch.testing import assert_close

from crossbatch.errors import SettingError
from crossbatch.models.backbones import OURS, create, image_settings, take
from crossbatch.models.pooling import GeneralizedMean


@pytest.mark.parametrize("name", [*OURS, "test_resnet", "mobilenetv3_small_050"])
@pytest.mark.parametrize(("pooling", "over_places"), [("avg", torch.mean), ("max", torch.amax)])
def test_a_named_pooling_is_over_the_last_maps(name: str, pooling: str, over_places: object) -> None:
    network, pool, features = create(name, 3, pooling=pooling)
    assert network.training
    maps = network.eval()(torch.randn(2, 3, 64, 96))
    assert maps.shape[:2] == (2, features)
    assert maps[0, 0].numel() > 1
    assert_close(pool(maps), over_places(maps, (2, 3)))


@pytest.mark.parametrize("name", [*OURS, "test_resnet"])
def test_left_alone_these_take_the_mean(name: str) -> None:
    images, given = torch.randn(2, 3, 64, 64), []
    for pooling in (None, "avg"):
        torch.manual_seed(0)
        network, pool, _ = create(name, 3, pooling=pooling)
        given.append(pool.eval()(network.eval()(images)))
    assert_close(*given)


def test_a_network_that_pools_itself_is_left_alone() -> None:
    network, pool, features = create("test_vit", 3)
    assert isinstance(pool, nn.Identity)
    assert network(torch.zeros(1, 3, 160, 160)).shape == (1, features)


def test_the_power_of_the_pooling_is_all_that_it_adds() -> None:
    _, pool, _ = create("small", 3, pooling="gem")
    assert isinstance(pool, GeneralizedMean)
    assert [name for name, _ in pool.named_parameters()] == ["power"]


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "swin_tiny_patch4_window7_224", "mixer_s32_224"])
def test_tokens_have_no_maps_to_pool(name: str) -> None:
    """This includes networks with the channels last, which are not maps for our pooling."""
    with (
        torch.device("meta"),
        pytest.raises(
            SettingError, match=rf"--model.pooling pools maps .* but {name} gives \[1, .* leave --model.pool"
        ),
    ):
        create(name, 3, pooling="gem")


def test_a_network_that_must_pool_itself_says_so() -> None:
    with (
        torch.device("meta"),
        pytest.raises(SettingError, match=r"efficientvit_b0 cannot leave its own pooling out \(.+\): leave --model"),
    ):
        create("efficientvit_b0", 3, pooling="max")


def test_the_settings_of_a_backbone_are_its_own() -> None:
    config = image_settings("mobilenetv3_small_050")
    assert config["input_size"] == (3, 224, 224)
    assert config["mean"] == (0.485, 0.456, 0.406)
    assert config["crop_pct"] == 0.875
    assert image_settings("googlenet")["mean"] == (0.5, 0.5, 0.5)
    assert image_settings("bn_inception")["mean"] == (128 / 255, 117 / 255, 104 / 255)
    assert timm.is_model("resnet50.tv_in1k")


def test_an_unknown_backbone_is_refused_with_near_names() -> None:
    for name, near in {"resnet_50": "resnet50", "smal": "small", "google_net": "googlenet"}.items():
        with pytest.raises(SettingError, match=rf"no backbone '{name}': did you mean .*{near}"):
            create(name, 3)
    with pytest.raises(SettingError, match=r"no backbone 'qqqqqq': name a timm model, or small or googlenet or bn_inc"):
        image_settings("qqqqqq")


def test_unknown_weights_of_a_backbone_are_refused() -> None:
    for make in (lambda name: create(name, 3), image_settings):
        with pytest.raises(SettingError, match=r"backbone resnet10t.nonsense cannot be built: .*tag \(nonsense\)"):
            make("resnet10t.nonsense")


@pytest.mark.parametrize("error", [OSError("no network\nat all"), RuntimeError("no network\nat all")])
@pytest.mark.parametrize("pooling", [None, "max"])
def test_weights_that_cannot_be_fetched_are_refused_in_a_line(
    error: Exception, pooling: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("crossbatch.models.hub_cache._reachable", lambda _: True)
    monkeypatch.setattr(timm, "create_model", fail)
    monkeypatch.setattr("torchvision.models.googlenet", fail)
    for name in ("resnet10t", "googlenet"):
        with pytest.raises(
            SettingError, match=rf"weights of {name} could not be fetched \(no network\): connect .*--m"
        ):
            create(name, 3, pooling=pooling, pretrained=True)


def test_a_transformer_is_resized_and_what_cannot_be_is_refused() -> None:
    network, _, _ = create("vit_tiny_patch16_224", 3)
    with pytest.raises(AssertionError, match="doesn't match model"):
        network(torch.zeros(2, 3, 32, 64))
    take(network, "vit_tiny_patch16_224", 3, (32, 64))
    assert network.training
    assert network(torch.zeros(2, 3, 32, 64)).shape[0] == 2
    for name in ("test_vit", "efficientvit_m0"):  # these take any size unchanged, as in saved models
        network, _, _ = create(name, 3)
        before = {key: value.shape for key, value in network.state_dict().items()}
        take(network, name, 3, (96, 96))
        assert {key: value.shape for key, value in network.state_dict().items()} == before
    network, _, _ = create("convit_tiny", 3)
    with pytest.raises(SettingError, match=r"convit_tiny takes no images of 32×32 .*: leave --model.image_size out"):
        take(network, "convit_tiny", 3, (32, 32))


def test_without_a_network_the_hub_is_not_asked_again_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError("no address")

    waited: list[float] = []
    monkeypatch.setattr("socket.getaddrinfo", refuse)
    monkeypatch.setattr("time.sleep", waited.append)
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(SettingError, match=r"could not be fetched .there is no network, and the hub's cache"):
        create("resnet10t", 3, pretrained=True)
    assert not waited
    assert not huggingface_hub.constants.is_offline_mode()


def test_ours_without_a_hub_say_so() -> None:
    with pytest.raises(SettingError, match="the small network has no pretrained weights: name a timm backbone"):
        create("small", 3, pretrained=True)
    with pytest.raises(
        SettingError, match=r"no weights on a hub: give .*52deb4733.pth with --model.pretrained false --model.weights"
    ):
        create("bn_inception", 3, pretrained=True)
