"""Tests of the scripts that convert what others publish."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest
import timm
import torch

SCRIPTS = Path(__file__).parent.parent / "scripts"


@pytest.fixture
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("weights_script", SCRIPTS / "efficientnet_lite_weights.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def published() -> dict[str, torch.Tensor]:
    return as_published("0")


def as_published(network: str) -> dict[str, torch.Tensor]:
    """timm's tensors under other names, as in the packages."""
    state = timm.create_model(f"tf_efficientnet_lite{network}").state_dict()
    return {f"_{number}.{name.rpartition('.')[2]}": value for number, (name, value) in enumerate(state.items())}


@pytest.mark.parametrize("number", ["0", "1", "2"])
def test_tensors_get_the_names_of_the_network(script: ModuleType, number: str) -> None:
    published, network = as_published(number), timm.create_model(f"tf_efficientnet_lite{number}")
    network.load_state_dict(script.convert(published, number))
    assert all(torch.equal(a, b) for a, b in zip(network.state_dict().values(), published.values(), strict=True))


def test_another_file_is_refused(script: ModuleType, published: dict[str, torch.Tensor]) -> None:
    items = list(published.items())
    with pytest.raises(SystemExit, match="295 tensors in the file, 296 in timm's tf_efficientnet_lite0"):
        script.convert(dict(items[1:]), "0")
    swapped = [items[0], items[2], items[1], *items[3:]]
    with pytest.raises(SystemExit, match=r"_2.bias \[32\] is not bn1.weight \[32\]"):
        script.convert(dict(swapped), "0")
    shaped = {**published, "_0.weight": torch.ones(1)}
    with pytest.raises(SystemExit, match=r"_0.weight \[1\] is not conv_stem.weight \[32, 3, 3, 3\]"):
        script.convert(shaped, "0")
