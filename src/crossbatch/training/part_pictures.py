"""Queries of a part and their nearest neighbours, as pictures for a person to look at."""

from pathlib import Path
from typing import Any

import torch

from crossbatch import runs
from crossbatch.data.data_set import DataSet
from crossbatch.durable import whole
from crossbatch.encoder import Embedded
from crossbatch.metrics import Neighbors, nearest
from crossbatch.training.part_search import Searched

EXAMPLE_QUERIES, EXAMPLE_NEIGHBORS, THUMBNAIL = 24, 8, 64


def write_examples(run: Path, part: str, loaded: DataSet, searched: Searched) -> None:
    """Write randomly drawn queries with their nearest neighbours; every run on the same data has the same queries."""
    query, gallery, measured = searched
    order = torch.randperm(len(measured.query_positions), generator=torch.Generator().manual_seed(0))
    chosen = measured.query_positions.sort().values[order[:EXAMPLE_QUERIES]]
    embeddings, labels, ids = (column[chosen] for column in query)
    neighbors = nearest(embeddings, gallery[0], EXAMPLE_NEIGHBORS, query_ids=ids, gallery_ids=gallery[2])
    folder = runs.example_folder(run, part)
    queries = []
    for row, image in enumerate(ids.tolist()):
        queries.append(card(folder, loaded, image, int(labels[row]), neighbors, row, gallery))
    runs.write_json(folder / "queries.json", queries)


def card(
    folder: Path, loaded: DataSet, image: int, label: int, found: Neighbors, row: int, gallery: Embedded
) -> dict[str, Any]:
    """An image and its neighbours, which are row `row` of `found`, as plain values for a page."""
    neighbors = [
        {
            **_describe(folder, loaded, int(gallery[2][position]), int(gallery[1][position])),
            "similarity": round(similarity, 4),
            "right": int(gallery[1][position]) == label,
        }
        for similarity, position in zip(found.similarities[row].tolist(), found.positions[row].tolist(), strict=True)
        if position >= 0
    ]
    return {**_describe(folder, loaded, image, label), "neighbors": neighbors}


def _describe(folder: Path, loaded: DataSet, image: int, label: int) -> dict[str, Any]:
    """An image for a page: its name, its class and its thumbnail, which is written if it is missing."""
    path = folder / f"{image}.png"
    if not path.exists():
        picture = loaded.images.read(image)
        picture.thumbnail((THUMBNAIL, THUMBNAIL))
        with whole(path) as file:
            picture.save(file, "PNG")
    return {
        "id": image,
        "picture": path.name,
        "name": loaded.images.name(image),
        "class": loaded.class_names[label],
    }
