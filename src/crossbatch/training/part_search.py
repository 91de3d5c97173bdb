"""Searching a part of the data set with a trained model."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from crossbatch import runs
from crossbatch.data.data_set import DataSet
from crossbatch.encoder import Embedded, load
from crossbatch.errors import DataError
from crossbatch.metrics import Retrieval, evaluate
from crossbatch.models import checkpoint
from crossbatch.training.settings import Settings


class Searched(NamedTuple):
    """The queries and the gallery of a part, and the result of the search."""

    query: Embedded
    gallery: Embedded
    measured: Retrieval


def parts_named(loaded: DataSet, name: str) -> list[str]:
    """The parts that a name stands for; `test` stands for all test lists."""
    names = list(loaded.tests) if name == "test" else [name]
    for wanted in names:
        if wanted not in loaded.searches or len(loaded.searches[wanted].query) == 0:
            parts = ", ".join(part for part, search in loaded.searches.items() if len(search.query))
            every = ", or test for all lists of test" if len(loaded.tests) > 1 else ""
            way_out = f"choose one of {parts}{every}" if parts else "measure on other images, with --on FOLDER"
            raise DataError(f"{loaded.name} has no {wanted} part to search: {way_out}")
    return names


def search_run(
    run: Path, loaded: DataSet, part: str, ks: Sequence[int] = (), weights: str = checkpoint.WEIGHTS
) -> Searched:
    """Embed a part with the model of a run, or with other weights of the run, and search it; no look is logged."""
    on_corrupt = Settings.from_dict(runs.read_config(run)).loop.on_corrupt
    encoder = load(run, weights=weights)
    search = loaded.searches[part]
    query = encoder.embed_part(loaded.images, search.query, on_corrupt)
    gallery = query if search.gallery is None else encoder.embed_part(loaded.images, search.gallery, on_corrupt)
    return Searched(query, gallery, evaluate(*query, *gallery, ks=ks or loaded.ks))
