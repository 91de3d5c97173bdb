"""Evaluation of a trained model on other labelled images, each searched among the others."""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from crossbatch import runs
from crossbatch.data.copies import copies
from crossbatch.data.data_set import DataSet
from crossbatch.data.listing import Listed, listed
from crossbatch.encoder import Encoder, load
from crossbatch.errors import DataError
from crossbatch.harmless import shown
from crossbatch.metrics import effective_dimensions, evaluate
from crossbatch.metrics.retrieval import refuse_ks
from crossbatch.training.started_from import trained_classes


def evaluate_on(model: Path, sources: Sequence[Path], ks: Sequence[int] = ()) -> dict[str, Any]:
    """Embed labelled images and search each among the others; nothing is written. Unreadable images are named.

    Args:
        model: Run folder, a folder of `save_pretrained`, or an ONNX file.
        sources: Folders with a folder for each class, or tables of path,label.
        ks: The K of Recall@K beside 1.

    Returns:
        Metrics; those of the weights before training too, where a run has kept them.

    Raises:
        DataError: An image has no label, or no class has two images.
    """
    ks = sorted({1, *(ks or DataSet.ks)})
    refuse_ks(ks)
    images, notes = listed(sources)
    images, stray = _without_stray(images, {source for source in sources if source.is_dir()})
    labels, names = _labels(images)
    notes += stray + _twins(images)
    if len(names) == 1:
        notes.append("there is one class, so R@1 is 1 for any model: bring more")
    encoder = load(model)
    rows, unreadable = _rows(encoder, images)
    readable = torch.ones(len(images), dtype=torch.bool)
    readable[list(unreadable)] = False
    labels = labels[readable]
    images_of_class = labels.bincount(minlength=len(names))
    if images_of_class.max() < 2:
        raise DataError("no class has two images that can be read: there is nothing to find")
    trained = (trained_classes(model) if model.is_dir() else set(encoder.description.class_names)) & set(names)
    if trained:
        notes = [*notes, f"the model was trained on {len(trained):,} of these {len(names):,} classes, by their names"]

    def measured(rows: Tensor) -> dict[str, float]:
        metrics = evaluate(rows, labels, ks=ks).summary()
        return {**metrics, "effective_dimensions": effective_dimensions(rows)}

    before = None
    if (model / runs.START).is_file():
        before = measured(_rows(load(model, weights=runs.START), images)[0][readable])
    rows = rows[readable]
    alone = images_of_class == 1
    return {
        **measured(rows),
        "cut": {str(length): measured(rows[:, :length]) for length in encoder.description.dims[:-1]},
        "before_training": before,
        "model": encoder.fingerprint,
        "queries": len(rows) - int(alone.sum()),
        "left_out": int(alone.sum()),
        "classes_left_out": [names[label] for label in alone.nonzero().flatten().tolist()],
        "alone": True,
        "gallery": len(rows),
        "classes": int((images_of_class > 0).sum()),
        "unreadable": [{"path": shown(images[place].path), "reason": why} for place, why in unreadable.items()],
        "notes": notes,
    }


def _without_stray(images: Sequence[Listed], folders: Collection[Path]) -> tuple[list[Listed], list[str]]:
    """Leave out images that lie beside the class folders instead of in one; and a note about them."""
    bare = [image for image in images if image.label is None]
    stray = [image for image in bare if image.path.parent == image.root and image.root in folders]
    kept = [image for image in images if image.label is not None]
    if not stray or not kept or len(stray) < len(bare):
        return list(images), []
    lie = "1 image lies" if len(stray) == 1 else f"{len(stray):,} images lie"
    return kept, [f"{lie} beside the class folders, left out, as {shown(stray[0].path)}"]


def _labels(images: Sequence[Listed]) -> tuple[Tensor, list[str]]:
    """Label of each image [images], and the names of the classes."""
    bare = [image for image in images if image.label is None]
    if bare:
        raise DataError(
            f"{len(bare):,} of {len(images):,} images have no label, such as {shown(bare[0].path)}: give a folder with "
            "a folder for each class, or a table of path,label"
        )
    classes = [str(image.label) for image in images]
    names = sorted(set(classes))
    place = {name: label for label, name in enumerate(names)}
    return torch.tensor([place[name] for name in classes]), names


def _twins(images: Sequence[Listed]) -> list[str]:
    """A note on identical files, which raise R@1, since each is found by the other; none without such files."""
    sizes = [image.path.stat().st_size if image.path.is_file() else 0 for image in images]
    groups = copies([image.path for image in images], sizes)
    if not groups:
        return []
    one, other = (shown(images[place].path) for place in groups[0][:2])
    return [
        f"{sum(map(len, groups)):,} files are copies byte for byte of each other, as {one} and {other}: R@1 is too high"
    ]


def _rows(encoder: Encoder, images: Sequence[Listed]) -> tuple[Tensor, dict[int, str]]:
    """Embeddings float32 [images, dim], NaN where an image cannot be read; and the reasons by position."""
    rows, unreadable = encoder.embed_readable([image.path for image in images])
    return torch.from_numpy(rows), unreadable
