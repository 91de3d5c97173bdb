"""A copy of the model within the gallery: the gallery can then be moved, and searched without the run."""

import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from crossbatch import durable, own_folders
from crossbatch.errors import RunError

if TYPE_CHECKING:
    from crossbatch.encoder import Encoder

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


def wants_graph(encoder: "Encoder", gallery: Path) -> bool:
    """Whether a gallery lacks its model as a graph that can be run, which the extra `onnx` can write.

    On a CPU a network of timm embeds a query in a third of the time with it, and a search from the command line need
    not import timm. The small network gains nothing.
    """
    installed = all(map(find_spec, ("onnx", "onnxscript", "onnxruntime")))
    if encoder.description.backbone == "small" or kept(gallery).suffix or not installed:
        return False
    return not _runs(gallery / FOLDER / GRAPH)


def _runs(graph: Path) -> bool:
    """Whether a graph is there and can be loaded."""
    from crossbatch.encoder import load  # noqa: PLC0415  (imports torch)

    try:
        return graph.is_file() and bool(load(graph).dim)
    except RunError:
        return False


def add_graph(encoder: "Encoder", gallery: Path) -> str:
    """Write the model of a gallery as a graph too; return why that is not possible, or nothing."""
    folder = gallery / FOLDER
    durable.sweep(folder)
    try:
        encoder.save_onnx(folder / GRAPH)
    except Exception as error:  # the exporter raises errors of many kinds, and the weights do as well
        return str(error).split("\n")[0] or type(error).__name__
    return ""


def opened(gallery: Path, fingerprint: str, *, as_graph: bool = True) -> "Encoder":
    """Load the model of a gallery, as a graph where that is faster; another model than the gallery's is refused.

    The weights are loaded where the graph cannot be, as with an older ONNX Runtime.
    """
    from crossbatch.encoder import load  # noqa: PLC0415  (imports torch)

    place = soonest(gallery) if as_graph else kept(gallery)
    try:
        encoder = load(place)
    except RunError:
        if place == kept(gallery):
            raise
        encoder = load(kept(gallery))
    if encoder.fingerprint != fingerprint:
        problem = f"{encoder.source} is of model {encoder.fingerprint}, and the gallery of {fingerprint}"
        raise RunError(f"{problem}: remove it, or put the model of the gallery there")
    return encoder


def soonest(gallery: Path) -> Path:
    """What loads fastest: the graph if it exists and ONNX Runtime is installed, else `kept`."""
    graph = gallery / FOLDER / GRAPH
    return graph if graph.is_file() and find_spec("onnxruntime") else kept(gallery)
