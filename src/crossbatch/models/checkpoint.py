"""A trained model in two files: weights (safetensors) and all that is needed to use them (JSON)."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from textwrap import shorten
from typing import Any

from crossbatch.errors import CrossBatchError, MissingExtraError, RunError
from crossbatch.models.embedder import Embedder, build

WEIGHTS, DESCRIPTION = "model.safetensors", "model.json"
FORMAT = 1  # of the description


@dataclass(frozen=True)
class Description:
    """How to build a model and prepare its images; `preprocessing` holds the fields of `Preprocessing`."""

    backbone: str
    dim: int
    channels: int
    preprocessing: dict[str, Any]
    class_names: list[str]
    pooling: str | None = None  # as the backbone was made to; runs of before there was a choice have no such field
    dims: list[int] = field(default_factory=list)  # lengths at which an embedding may be cut off; none: only whole
    format: int = FORMAT


def save(folder: Path, model: Embedder, description: Description) -> None:
    """Write both files whole: a reader never sees half of one."""
    save_weights(folder / WEIGHTS, model)
    text = folder / f"{DESCRIPTION}.partial"
    text.write_text(json.dumps(asdict(description), indent=1, ensure_ascii=False), encoding="utf-8")
    text.replace(folder / DESCRIPTION)


def save_weights(path: Path, model: Embedder) -> None:
    """Write the weights alone, whole."""
    partial = path.with_name(f"{path.name}.partial")
    weights = {name: value.contiguous() for name, value in model.state_dict().items()}
    safetensors("keeping a model").save_file(weights, partial)
    partial.replace(path)


def load(folder: Path, file: str = WEIGHTS) -> tuple[Embedder, Description]:
    """The model of a run folder, in evaluation mode; `file`: other weights of it than the best."""
    try:
        description = described(folder)
        weights = safetensors("keeping a model").load_file(folder / file)
        model = build(description.backbone, description.dim, description.channels, pooling=description.pooling)
    except FileNotFoundError as error:
        raise RunError(f"{folder} holds no trained model ({Path(error.filename or file).name} is missing)") from error
    except CrossBatchError:
        raise
    except Exception as error:  # safetensors raises its own error type, JSON another
        raise RunError(f"the model in {folder} cannot be read ({error}): train it again, or copy it whole") from error
    load_weights(model, weights, folder)
    return model.eval(), description


def described(folder: Path) -> Description:
    """What is said of the model in a folder."""
    plain = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
    if plain.get("format", FORMAT) != FORMAT:
        raise RunError(
            f"{folder / DESCRIPTION} has format {plain['format']} and this version reads {FORMAT}: "
            "use the version that wrote it"
        )
    return Description(**plain)


def load_weights(model: Embedder, weights: dict[str, Any], source: Path) -> None:
    """Load weights that must fit exactly."""
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        reason = shorten(str(error).splitlines()[-1], 160, placeholder=" …")
        raise RunError(f"the weights of {source} do not fit this model: {reason}") from error


def safetensors(feature: str) -> Any:
    """The package that reads and writes tensors, for a feature that needs it."""
    try:
        from safetensors import torch as torch_files  # noqa: PLC0415
    except ModuleNotFoundError:
        raise MissingExtraError(feature, "safetensors", "train") from None
    return torch_files
