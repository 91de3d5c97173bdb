"""Weights from a file: read without running code, matched by name, with a report of what matched."""

import pickle
import warnings
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from crossbatch.errors import SettingError
from crossbatch.models.checkpoint import DESCRIPTION, safetensors
from crossbatch.typed import typed

PICKLED = (".pth", ".pt", ".bin")
ENOUGH = 0.5  # share of a network's tensors that a file must have, else it is of another network
NAMED = 4  # names that a message lists


def load_backbone(network: nn.Module, backbone: str, file: Path) -> str:
    """Load the weights of a backbone from a file, and return a sentence on what matched.

    The file is a state dict of safetensors or torch, bare or under `state_dict` or `model`. Its names may have a common
    prefix, such as `module.` or `backbone.`. Tensors that the backbone lacks, such as a classifier, are ignored.
    Tensors that the file lacks keep their values. A tensor of another shape is refused.
    """
    tensors = read(file)
    wanted = network.state_dict()
    prefix = _prefix(tensors, wanted)
    matched = {name: tensors[prefix + name] for name in wanted if prefix + name in tensors}
    counted = [name for name in wanted if not name.endswith("num_batches_tracked")]  # older files have none
    missing = [name for name in counted if name not in matched]
    unused = [name for name in tensors if name.removeprefix(prefix) not in matched or not name.startswith(prefix)]
    if len(missing) > ENOUGH * len(counted):
        if (file.parent / DESCRIPTION).is_file():
            way_out = f"--init {typed(file.parent)} starts from it, in place of --model.weights"
            raise SettingError(f"{file} is a trained model of crossbatch, and not the weights of {backbone}: {way_out}")
        raise SettingError(
            f"{file} has {len(counted) - len(missing)} of the {len(counted)} tensors of {backbone} (missing: "
            f"{_listed(missing)}; in the file: {_listed(unused)}): name the --model.backbone that these weights are of"
        )
    network.load_state_dict({name: _shaped(name, matched[name], wanted[name], file) for name in matched}, strict=False)
    report = f"{len(counted) - len(missing)} of {len(counted)} tensors of the backbone from {file}"
    lists = {"missing": missing, "not used": unused}
    return "; ".join([report, *(f"{title}: {_listed(names)}" for title, names in lists.items() if names)])


def read(file: Path) -> dict[str, Tensor]:
    """The tensors of a file by name; no code in the file is run."""
    if not file.is_file():
        raise SettingError(f"there is no file {file}: give --model.weights the path of a .safetensors or .pth file")
    if file.suffix not in (".safetensors", *PICKLED):
        raise SettingError(f"--model.weights takes files in .safetensors, {', '.join(PICKLED)}, got {file}")
    try:
        content = _content(file)
    except pickle.UnpicklingError as error:
        raise SettingError(
            f"{file} holds more than tensors by name, or is broken; code in it is not run: "
            "save the state_dict alone, as safetensors where you can"
        ) from error
    except Exception as error:  # torch raises what zipfile and its own reader raise, safetensors its own error
        reason = str(error).split("\n")[0][:120] or type(error).__name__
        raise SettingError(f"the weights {file} cannot be read ({reason}): copy the file again") from error
    tensors = _by_name(content)
    if not tensors:
        raise SettingError(f"{file} holds no tensors by name: save the state_dict of the network")
    return tensors


def _content(file: Path) -> Any:
    if file.suffix == ".safetensors":
        return safetensors("reading weights").load_file(file)
    with warnings.catch_warnings(action="ignore"):  # warnings of old pickle protocols; the error says enough
        return torch.load(file, map_location="cpu", weights_only=True)


def _by_name(content: Any) -> dict[str, Tensor]:
    """The tensors by name, which may be one or two levels down in what training code has saved."""
    for key in ("state_dict", "model"):
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    named = content.items() if isinstance(content, Mapping) else ()
    return {str(name): value for name, value in named if isinstance(value, Tensor)}


def _prefix(names: Collection[str], wanted: Collection[str]) -> str:
    """The prefix of the names in the file: the shortest with which most wanted names are found."""
    prefixes = {name[: end + 1] for name in names for end, sign in enumerate(name) if sign == "."}
    return max(
        ["", *sorted(prefixes, key=lambda prefix: (len(prefix), prefix))],
        key=lambda prefix: sum(prefix + name in names for name in wanted),
    )


def _shaped(name: str, value: Tensor, wanted: Tensor, file: Path) -> Tensor:
    """The value in the wanted shape. Axes of length 1 may differ: early conversions from Caffe have one more."""
    if value.squeeze().shape != wanted.squeeze().shape:
        raise SettingError(
            f"{name} is {list(value.shape)} in {file} and {list(wanted.shape)} in the network: "
            "name the --model.backbone that these weights are of"
        )
    return value.reshape(wanted.shape)


def _listed(names: Collection[str]) -> str:
    listed = ", ".join(list(names)[:NAMED])
    return listed + (f" and {len(names) - NAMED} more" if len(names) > NAMED else "") if names else "nothing"
