"""A copy of the model within the gallery: the gallery can then be moved, and searched without the run."""

import shutil
from importlib.util import find_spec
from pathlib import Path

from crossbatch import durable, own_folders
from crossbatch.errors import RunError

FOLDER = own_folders.MODEL
GRAPH = "model.onnx"  # the name that `crossbatch export` gives it
FILES = ("model.safetensors", "model.json", "config.json")


def keep(source: Path, gallery: Path) -> None:
    """Copy a model into a gallery; `source`: a folder, or an ONNX file with its description beside it."""
    target = gallery / FOLDER
    if target.is_symlink():
        raise RunError(f"{target} is a link, and the model would be written to where it leads: remove it")
    target.mkdir(parents=True, exist_ok=True)
    beside = [source, *source.parent.glob(f"{source.stem}*.json"), *source.parent.glob(f"{source.name}.*")]
    for file in [source / name for name in FILES] if source.is_dir() else beside:
        if file.is_file():
            with file.open("rb") as content, durable.whole(target / file.name) as copy:
                shutil.copyfileobj(content, copy)


def kept(gallery: Path) -> Path:
    """The folder or ONNX file to load the model of a gallery from."""
    folder = gallery / FOLDER
    if (folder / FILES[0]).is_file():
        return folder
    graph = next(iter(sorted(folder.glob("*.onnx"))), None)
    if graph is None:
        raise RunError(f"{gallery} has lost its model: copy model.safetensors and model.json of the run into {folder}")
    return graph


def soonest(gallery: Path) -> Path:
    """What loads fastest: the graph of `crossbatch export` if it exists and ONNX Runtime is installed, else `kept`."""
    graph = gallery / FOLDER / GRAPH
    return graph if graph.is_file() and find_spec("onnxruntime") else kept(gallery)
