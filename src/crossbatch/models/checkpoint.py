"""A trained model in two files: its weights (safetensors), and the description that they need (JSON)."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from textwrap import shorten
from typing import Any

from crossbatch import durable
from crossbatch.errors import CrossBatchError, MissingExtraError, RunError
from crossbatch.models import backbones
from crossbatch.models.embedder import MOST_DIMENSIONS, Embedder, build

WEIGHTS, DESCRIPTION = "model.safetensors", "model.json"
CONFIG, CARD = "config.json", "README.md"  # names that model hubs give the description and the model card
FORMAT = 1  # of the description


@dataclass(frozen=True)
class Description:
    """How to build a model and prepare its images; `preprocessing` holds the fields of `Preprocessing`."""

    backbone: str
    dim: int
    channels: int
    preprocessing: dict[str, Any]
    class_names: list[str] = field(repr=False)  # there may be thousands
    pooling: str | None = None  # None: the backbone's own pooling
    dims: list[int] = field(default_factory=list)  # lengths to which an embedding may be cut; empty: none
    format: int = FORMAT


def save(folder: Path, model: Embedder, description: Description, name: str = DESCRIPTION) -> None:
    """Write both files whole: a reader never sees half a file."""
    save_weights(folder / WEIGHTS, model)
    durable.write_text(folder / name, json.dumps(asdict(description), indent=1, ensure_ascii=False))


def save_weights(path: Path, model: Embedder) -> None:
    """Write only the weights, as a whole file."""
    weights = {name: value.contiguous() for name, value in model.state_dict().items()}
    with durable.whole(path) as file:
        file.write(safetensors("keeping a model").save(weights))


def load(folder: Path, file: str = WEIGHTS) -> tuple[Embedder, Description]:
    """Load the model of a run folder, in evaluation mode; `file`: weights of the run other than the best."""
    try:
        description = described(folder)
        weights = safetensors("keeping a model").load_file(folder / file)
        _check_rows(folder, description, weights["head.weight"].shape[0])  # before building a network that may be huge
        model = build(description.backbone, description.dim, description.channels, pooling=description.pooling)
        if "size" in description.preprocessing:
            backbones.take(model.backbone, description.backbone, description.channels, _sides(description))
    except FileNotFoundError as error:
        raise RunError(f"{folder} holds no trained model ({Path(error.filename or file).name} is missing)") from error
    except CrossBatchError:
        raise
    except Exception as error:  # safetensors raises its own error type, JSON another
        raise _unreadable(folder, error) from error
    load_weights(model, weights, folder)
    return model.eval(), description


def _sides(description: Description) -> tuple[int, int]:
    """Height and width of the images that a model sees."""
    size = description.preprocessing["size"]
    high, wide = (size, size) if isinstance(size, int) else size
    return int(high), int(wide)


def tensors(file: Path) -> dict[str, Any]:
    """The tensors of a weights file by name."""
    try:
        weights: dict[str, Any] = safetensors("keeping a model").load_file(file)
    except FileNotFoundError as error:
        raise RunError(f"{file} is missing") from error
    except Exception as error:  # safetensors raises its own error type
        raise RunError(f"{file} cannot be read ({error}): copy it again, or start anew") from error
    return weights


def described(folder: Path) -> Description:
    """Read the description of the model in a run folder, or in a folder with the layout of model hubs."""
    if folder.is_file():
        raise RunError(f"{folder} is a file, and holds no weights to train: name a run folder, or an exported folder")
    of_hub = (folder / CONFIG).is_file() and not (folder / DESCRIPTION).exists()
    file = folder / (CONFIG if of_hub else DESCRIPTION)
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise RunError(f"{folder} holds no trained model ({file.name} is missing)") from None
    return description_of(text, file)


def description_of(text: str, source: Path) -> Description:
    """Parse a description from JSON; refuse one whose model cannot be built."""
    try:
        plain = json.loads(text)
        version = plain.get("format", FORMAT)
        description = Description(**plain) if version == FORMAT else None
    except Exception as error:  # invalid JSON, or a missing or unknown field
        raise _unreadable(source, error) from error
    if description is None:
        raise RunError(f"{source} has format {version} and this version reads {FORMAT}: use the version that wrote it")
    try:
        _check(description)
    except (TypeError, ValueError) as error:
        raise _unreadable(source, error) from error
    return description


def _check(description: Description) -> None:
    """Check types and ranges, since the file may come from a stranger."""
    kinds = {"backbone": str, "dim": int, "channels": int, "preprocessing": dict}
    kinds |= {"class_names": list, "dims": list}
    for name, kind in kinds.items():
        if not isinstance(getattr(description, name), kind):
            raise TypeError(f"{name} is no {kind.__name__}")
    if not 1 <= description.dim <= MOST_DIMENSIONS or description.channels not in (1, 3):
        raise ValueError(f"dim is {description.dim} and channels {description.channels}")
    if not isinstance(description.pooling, str | None) or not all(
        isinstance(name, str) for name in description.class_names
    ):
        raise ValueError("pooling and class_names are text")


def _check_rows(folder: Path, description: Description, rows: int) -> None:
    if rows != description.dim:
        raise RunError(
            f"the weights of {folder} do not fit this model: size mismatch for head, {rows} dimensions where its "
            f"description says {description.dim}"
        )


def _unreadable(source: Path, error: Exception) -> RunError:
    reason = shorten(" ".join(str(error).split()), 160, placeholder=" …") or type(error).__name__
    return RunError(f"the model in {source} cannot be read ({reason}): train it again, or copy it whole")


def load_weights(model: Embedder, weights: dict[str, Any], source: Path) -> None:
    """Load weights that must fit exactly."""
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        reason = shorten(str(error).splitlines()[-1], 160, placeholder=" …")
        raise RunError(f"the weights of {source} do not fit this model: {reason}") from error


def safetensors(feature: str) -> Any:
    """Import `safetensors.torch`; if it is missing, the error names the feature that needs it."""
    try:
        from safetensors import torch as torch_files  # noqa: PLC0415
    except ModuleNotFoundError:
        raise MissingExtraError(feature, "safetensors", "train") from None
    return torch_files
