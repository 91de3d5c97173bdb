"""The model of a gallery, kept in it: the folder can then be moved, and searched without the run."""

import shutil
from importlib.util import find_spec
from pathlib import Path

from crossbatch import durable
from crossbatch.errors import RunError

FOLDER = "model"
GRAPH = "model.onnx"  # what `crossbatch export` calls it
FILES = ("model.safetensors", "model.json", "config.json")


def keep(source: Path, gallery: Path) -> None:
    """Copy the files of a model, of a folder or an ONNX file with its description, into a gallery."""
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
    """What to load the model of a gallery from."""
    folder = gallery / FOLDER
    if (folder / FILES[0]).is_file():
        return folder
    found = next(iter(sorted(folder.glob("*.onnx"))), None)
    if found is None:
        raise RunError(f"{gallery} has lost its model: copy model.safetensors and model.json of the run into {folder}")
    return found


def soonest(gallery: Path) -> Path:
    """What is loaded soonest: the graph that `crossbatch export` wrote beside the weights, where it can be run."""
    graph = gallery / FOLDER / GRAPH
    return graph if graph.is_file() and find_spec("onnxruntime") else kept(gallery)
