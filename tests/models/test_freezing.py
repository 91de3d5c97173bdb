"""Tests that frozen weights and statistics never change in any training loop, and that the others learn."""

from copy import deepcopy

import pytest
import torch
from torch import nn

from crossbatch.errors import SettingError
from crossbatch.models.embedder import Embedder, build
from crossbatch.models.freezing import freeze
from crossbatch.models.timm_networks import stages

# By backbone, convolutional or transformer: the number of stages, and the first and the last parameter.
STAGES = {
    "small": (4, "0.weight", "10.bias"),
    "googlenet": (4, "conv1.conv.weight", "inception5b.branch4.1.bn.bias"),
    "bn_inception": (4, "conv1_7x7_s2.weight", "inception_5b_pool_proj_bn.bias"),
    "test_resnet": (5, "conv1.0.weight", "layer4.0.bn2.bias"),
    "test_efficientnet": (6, "conv_stem.weight", "bn2.bias"),
    "test_vit": (7, "cls_token", "norm.weight"),
    "test_convnext": (5, "stem.0.weight", "head.norm.weight"),
}
LEARNS_FAST = 0.1


def model_of(backbone: str, pooling: str | None = None) -> Embedder:
    torch.manual_seed(0)
    return build(backbone, 8, 3, pooling=pooling)


def learn(model: Embedder, side: int = 64) -> set[str]:
    """Train three steps, calling train() and eval() as Lightning does. Return the names of the changed tensors."""
    before = deepcopy(model.state_dict())
    optimizer = torch.optim.SGD([weight for weight in model.parameters() if weight.requires_grad], lr=LEARNS_FAST)
    for _ in range(3):
        model.eval()
        model.train()
        optimizer.zero_grad()
        (model(torch.randn(4, 3, side, side)) @ torch.randn(8)).sum().backward()
        optimizer.step()
    return {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}


@pytest.mark.parametrize("backbone", STAGES)
def test_stages_go_from_the_images_to_the_features(backbone: str) -> None:
    """Each parameter is in one stage. A final normalisation is not a stage of its own."""
    count, first, last = STAGES[backbone]
    with torch.device("meta"):
        network = build(backbone, 8, 3).backbone
    stage_of = stages(backbone, network)
    assert stage_of.keys() == {name for name, _ in network.named_parameters()}
    assert set(stage_of.values()) == set(range(count))
    assert (stage_of[first], stage_of[last]) == (0, count - 1)


@pytest.mark.parametrize("backbone", ["small", "test_resnet", "test_vit", "test_convnext"])
@pytest.mark.parametrize("last", [0, 1, 2])
def test_the_last_stages_learn_and_nothing_before_them_changes(backbone: str, last: int) -> None:
    model = model_of(backbone)
    count = STAGES[backbone][0]
    stage_of = stages(backbone, model.backbone)
    freeze(model, backbone, train_stages=last)
    learning = {f"backbone.{name}" for name, stage in stage_of.items() if stage >= count - last}
    changed = learn(model, 160 if backbone == "test_vit" else 64)
    weights = {name for name, _ in model.named_parameters()}
    assert changed & weights == learning | {"head.weight", "head.bias"}
    statistics = {name for name in changed - weights if not name.endswith("num_batches_tracked")}
    owners = {name.rpartition(".")[0] for name in learning}
    assert {name.rpartition(".")[0] for name in statistics} <= owners
    assert bool(statistics) == (last > 0 and backbone in {"small", "test_resnet"})


def test_all_stages_are_all_weights() -> None:
    some, left = model_of("test_resnet"), model_of("test_resnet")
    freeze(some, "test_resnet", train_stages=5)
    freeze(left, "test_resnet")
    assert some.kept == left.kept == ()
    assert all(weight.requires_grad for weight in [*some.parameters(), *left.parameters()])


@pytest.mark.parametrize("backbone", ["small", "bn_inception", "test_resnet"])
def test_a_frozen_batch_norm_keeps_statistics_scale_and_shift(backbone: str) -> None:
    model = model_of(backbone, pooling="gem")
    freeze(model, backbone, batch_norm=True)
    norms = {name for name, module in model.named_modules() if isinstance(module, nn.BatchNorm2d)}
    assert norms
    for name in norms:
        nn.init.ones_(model.get_submodule(name).weight)  # timm sets the last BatchNorm of a residual block to 0
    changed = {name.rpartition(".")[0] for name in learn(model)}
    assert not changed & norms
    convolutions = {name for name, module in model.named_modules() if isinstance(module, nn.Conv2d)}
    assert changed >= convolutions | {"head", "pooling"}


def test_without_it_the_statistics_move() -> None:
    model = model_of("small")
    freeze(model, "small")
    assert "backbone.1.running_mean" in learn(model)


def test_a_norm_without_scale_and_shift_is_kept_too() -> None:
    model = model_of("small")
    model.backbone[1] = nn.BatchNorm2d(32, affine=False)
    freeze(model, "small", batch_norm=True)
    assert "backbone.1.running_mean" not in learn(model)


@pytest.mark.parametrize("choice", [{"train_stages": 0}, {"train_stages": 1}, {"batch_norm": True}])
def test_copies_keep_what_is_kept(choice: dict) -> None:
    model = model_of("small")
    freeze(model, "small", **choice)
    copied = deepcopy(model).eval().train()
    modes = [[module.training for module in each.modules()] for each in (model, copied)]
    assert modes[0] == modes[1]
    assert True in modes[0]
    assert False in modes[0]


def test_a_frozen_backbone_gives_in_training_what_it_gives_in_evaluation() -> None:
    """This includes dropout: the head trains on fixed features."""
    model = build("mobilenetv3_small_050", 8, 3)
    freeze(model, "mobilenetv3_small_050", train_stages=0)
    images = torch.randn(2, 3, 64, 64)
    assert torch.equal(model.train()(images), model.eval()(images))


def test_a_network_without_batch_norm_has_none_to_freeze() -> None:
    model = model_of("test_vit")
    freeze(model, "test_vit", batch_norm=True)
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert not model.kept


def test_refuses_what_cannot_be_frozen() -> None:
    with pytest.raises(SettingError, match=r"test_resnet has 5 stages: --model.train_stages takes 0 to 5, .*got 6"):
        freeze(model_of("test_resnet"), "test_resnet", train_stages=6)
    with torch.device("meta"):
        model = build("pit_ti_224", 8, 3)
    with pytest.raises(SettingError, match=r"timm tells no stages of pit_ti_224: .* set it to 0 to train the head"):
        freeze(model, "pit_ti_224", train_stages=1)
    freeze(model, "pit_ti_224", train_stages=0)
