"""Tests of weights from a file: matching tensors are loaded and counted, unfit files are refused, no code is run."""

import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from crossbatch.errors import SettingError
from crossbatch.models.backbones import create
from crossbatch.models.checkpoint import Description, save
from crossbatch.models.embedder import build
from crossbatch.models.weights import load_backbone, read

BACKBONE = "test_resnet"
TENSORS = 75  # of test_resnet, without the classifier and without the batch counters of BatchNorm
State = dict[str, Tensor]


def network(seed: int = 0, backbone: str = BACKBONE) -> nn.Module:
    torch.manual_seed(seed)
    return create(backbone, 3)[0]


@pytest.fixture
def published() -> State:
    """Published weights, with a classifier."""
    state = network(1).state_dict()
    return state | {"fc.weight": torch.ones(1000, 96), "fc.bias": torch.ones(1000)}


def same(target: nn.Module, state: State) -> bool:
    return all(torch.equal(value, state[name]) for name, value in target.state_dict().items())


@pytest.mark.parametrize("suffix", [".safetensors", ".pth", ".pt", ".bin"])
def test_every_format_loads_and_says_what_matched(suffix: str, published: State, tmp_path: Path) -> None:
    file, target = tmp_path / f"weights{suffix}", network()
    (save_file if suffix == ".safetensors" else torch.save)(published, file)
    told = load_backbone(target, BACKBONE, file)
    assert same(target, published)
    unused = "fc.bias, fc.weight" if suffix == ".safetensors" else "fc.weight, fc.bias"
    assert told == f"{TENSORS} of {TENSORS} tensors of the backbone from {file}; not used: {unused}"


@pytest.mark.parametrize("nest", [lambda s: {"state_dict": s, "epoch": 3}, lambda s: {"model": s}, lambda s: s])
@pytest.mark.parametrize("prefix", ["", "module.", "backbone.", "module.backbone.", "model.encoder_q.0."])
def test_state_dicts_are_found_where_training_code_puts_them(
    nest: Callable[[State], object], prefix: str, published: State, tmp_path: Path
) -> None:
    file, target = tmp_path / "weights.pth", network()
    torch.save(nest({prefix + name: value for name, value in published.items()}), file)
    told = load_backbone(target, BACKBONE, file)
    assert same(target, published)
    assert told.endswith(f"; not used: {prefix}fc.weight, {prefix}fc.bias")


def test_of_two_networks_in_a_file_one_is_taken_whole(published: State, tmp_path: Path) -> None:
    """For example, a network and its moving average."""
    slow = network(2).state_dict()
    both = {f"slow.{name}": value for name, value in slow.items()} | {f"q.{n}": value for n, value in published.items()}
    torch.save(both, tmp_path / "both.pth")
    target = network()
    load_backbone(target, BACKBONE, tmp_path / "both.pth")
    assert same(target, published)


def test_what_is_missing_is_named_and_keeps_its_values(published: State, tmp_path: Path) -> None:
    for name in ("conv1.0.weight", "layer4.0.bn2.bias"):
        del published[name]
    old = {name: value for name, value in published.items() if not name.endswith("num_batches_tracked")}
    torch.save(old, tmp_path / "old.pth")
    target = network()
    before = target.state_dict()["conv1.0.weight"].clone()
    told = load_backbone(target, BACKBONE, tmp_path / "old.pth")
    assert f"{TENSORS - 2} of {TENSORS} tensors" in told
    assert "; missing: conv1.0.weight, layer4.0.bn2.bias; not used: " in told
    assert torch.equal(target.state_dict()["conv1.0.weight"], before)


def test_a_run_of_ours_is_such_a_file(tmp_path: Path) -> None:
    model = build(BACKBONE, 8, 3, pooling="gem")
    save(tmp_path, model, Description(BACKBONE, 8, 3, {}, [], "gem"))
    target = network()
    told = load_backbone(target, BACKBONE, tmp_path / "model.safetensors")
    assert same(target, model.backbone.state_dict())
    assert told.endswith("not used: head.bias, head.weight, pooling.power")
    with pytest.raises(SettingError, match=rf"not the weights of test_vit: --init {tmp_path} starts from it"):
        load_backbone(network(backbone="test_vit"), "test_vit", tmp_path / "model.safetensors")


def test_tensors_with_one_axis_more_fit(tmp_path: Path) -> None:
    """The BatchNorm tensors of BN-Inception's first conversion from Caffe have an extra axis."""
    source = network(1, "bn_inception").state_dict()
    caffe = {name: value[None] if "_bn." in name and value.dim() else value for name, value in source.items()}
    caffe |= {"last_linear.weight": torch.ones(1000, 1024), "last_linear.bias": torch.ones(1000)}
    torch.save(caffe, tmp_path / "bn_inception-52deb4733.pth", _use_new_zipfile_serialization=False)
    target = network(0, "bn_inception")
    told = load_backbone(target, "bn_inception", tmp_path / "bn_inception-52deb4733.pth")
    assert same(target, source)
    assert told.startswith("414 of 414 tensors")
    assert told.endswith("not used: last_linear.weight, last_linear.bias")


def test_weights_of_another_network_are_refused(published: State, tmp_path: Path) -> None:
    torch.save(published, tmp_path / "weights.pth")
    with pytest.raises(
        SettingError,
        match=r"has 0 of the 78 tensors of test_vit \(missing: cls_token, .* and 74 more; in the file: conv1",
    ):
        load_backbone(network(backbone="test_vit"), "test_vit", tmp_path / "weights.pth")
    wider = published | {"layer1.0.conv1.weight": torch.ones(7, 32, 3, 3)}
    torch.save(wider, tmp_path / "weights.pth")
    target = network()
    before = {name: value.clone() for name, value in target.state_dict().items()}
    with pytest.raises(
        SettingError, match=r"layer1.0.conv1.weight is \[7, 32, 3, 3\] in .*weights.pth and \[32, 32, 3"
    ):
        load_backbone(target, BACKBONE, tmp_path / "weights.pth")
    assert same(target, before)


class Trap:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return Path.touch, (self.path,)


def test_code_in_a_file_is_not_run(published: State, tmp_path: Path) -> None:
    torch.save({"state_dict": published, "args": Trap(tmp_path / "sprung")}, tmp_path / "torch.pth")
    (tmp_path / "plain.pt").write_bytes(pickle.dumps(Trap(tmp_path / "sprung")))
    torch.save(network(), tmp_path / "whole.bin")
    for name in ("torch.pth", "plain.pt", "whole.bin"):
        with pytest.raises(
            SettingError, match=rf"{name} holds more than tensors .* not run: save the state_dict"
        ) as told:
            read(tmp_path / name)
        assert "\n" not in str(told.value)
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
@pytest.mark.parametrize("share", [0, 0.01, 0.5, 0.99])
def test_half_a_file_is_refused_in_one_sentence(suffix: str, share: float, published: State, tmp_path: Path) -> None:
    file = tmp_path / f"weights{suffix}"
    (save_file if suffix == ".safetensors" else torch.save)(published, file)
    file.write_bytes(file.read_bytes()[: int(share * file.stat().st_size)])
    with pytest.raises(SettingError, match=r"cannot be read \(.+\): copy the file again|or is broken") as told:
        read(file)
    assert "\n" not in str(told.value)
    assert len(str(told.value)) < len(str(file)) + 250


@pytest.mark.parametrize("content", [3, [torch.ones(2)], {"epoch": 3}, {}, {"state_dict": {"lr": 0.1}}])
def test_a_file_without_tensors_by_name_is_refused(content: object, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "weights.pth")
    with pytest.raises(SettingError, match=r"holds no tensors by name: save the state_dict"):
        read(tmp_path / "weights.pth")


def test_no_such_file_and_other_formats_are_refused(tmp_path: Path) -> None:
    (tmp_path / "weights.npz").touch()
    with pytest.raises(SettingError, match=r"takes files in .safetensors, .pth, .pt, .bin, got .*weights.npz"):
        read(tmp_path / "weights.npz")
    for path in (tmp_path, tmp_path / "gone.pth"):
        with pytest.raises(SettingError, match=r"there is no file .*: give --model.weights the path of"):
            read(path)
