"""Searching a part of the data set with a trained model."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from crossbatch import runs
from crossbatch.data.batches import PartBatches, Reader
from crossbatch.data.data_set import DataSet
from crossbatch.data.transforms import Evenly, Preprocessing
from crossbatch.errors import DataError
from crossbatch.metrics import Retrieval, evaluate
from crossbatch.models import checkpoint
from crossbatch.models.embedder import Embedder
from crossbatch.progress import watched
from crossbatch.training.settings import Settings

Embedded = tuple[Tensor, Tensor, Tensor]  # embeddings, labels, ids


class Searched(NamedTuple):
    """The queries and the gallery of a part, and what was found."""

    query: Embedded
    gallery: Embedded
    measured: Retrieval


def parts_named(loaded: DataSet, name: str) -> list[str]:
    """The searches that a name stands for; `test` for every test list."""
    names = list(loaded.tests) if name == "test" else [name]
    for one in names:
        if one not in loaded.searches or len(loaded.searches[one].query) == 0:
            there = ", ".join(part for part, search in loaded.searches.items() if len(search.query))
            raise DataError(
                f"{loaded.name} has no {one} part to search: choose one of {there}, or test for all of test"
            )
    return names


def search_run(
    run: Path, loaded: DataSet, part: str, ks: Sequence[int] = (), weights: str = checkpoint.WEIGHTS
) -> Searched:
    """Embed a part with the model of a run, or with other weights of it, and search; no look is logged."""
    settings = Settings.from_dict(runs.read_config(run))
    model, description = checkpoint.load(run, weights)
    evenly = Evenly(Preprocessing.restore(description.preprocessing))
    reader = Reader(loaded.images, settings.loop.on_corrupt)
    search = loaded.searches[part]
    query = embed(model, PartBatches(reader, search.query, evenly))
    gallery = query if search.gallery is None else embed(model, PartBatches(reader, search.gallery, evenly))
    return Searched(query, gallery, evaluate(*query, *gallery, ks=ks or loaded.ks))


@torch.no_grad()
def embed(model: Embedder, batches: PartBatches) -> Embedded:
    """Embeddings [images, dim], labels and ids of a part, on the CPU."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = model.to(device).eval()
    numbered = (batches[number] for number in watched(range(len(batches)), "embedding, in batches"))
    rows = [(model(images.to(device)).float().cpu(), labels, ids) for images, labels, ids in numbered if len(labels)]
    if not rows:
        raise DataError("no image of the part can be read")
    embeddings, labels, ids = (torch.cat(columns) for columns in zip(*rows, strict=True))
    return embeddings, labels, ids
