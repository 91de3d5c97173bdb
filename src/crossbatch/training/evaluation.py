"""Search a part of the data set with a trained model: metrics, and examples for a person to look at."""

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from crossbatch import runs
from crossbatch.data.images import PartBatches, Reader
from crossbatch.data.records import DataSet, Part
from crossbatch.data.transforms import Evenly, Preprocessing
from crossbatch.errors import DataError
from crossbatch.metrics import Retrieval, by_class, evaluate, nearest, worst_first
from crossbatch.models import checkpoint
from crossbatch.models.embedder import Embedder
from crossbatch.training.settings import Settings

EXAMPLE_QUERIES, EXAMPLE_NEIGHBORS, THUMBNAIL = 24, 8, 64
WORST_QUERIES = 1000  # rows of the table; the table of classes has them all
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


def evaluate_run(run: Path, loaded: DataSet, part: str, ks: Sequence[int] = ()) -> dict[str, Any]:
    """Search a part with the model of a run; the look is logged in the run folder, with examples and tables beside it.

    The K of Recall@K are those of the data set, unless they are given.
    """
    runs.require_data(run, loaded.identity)
    began = time.perf_counter()
    searched = search_run(run, loaded, part, ks)
    entry = {
        "part": part,
        "data": loaded.name,
        "fingerprint": loaded.fingerprint,
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        **searched.measured.summary(),
        "queries": searched.measured.queries,
        "left_out": searched.measured.left_out,
        "gallery": len(searched.gallery[1]),
        "classes": loaded.searches[part].query.classes,
        "seconds": round(time.perf_counter() - began, 2),
    }
    entry["look"] = runs.add_evaluation(run, entry)
    write_examples(run, part, loaded, searched)
    write_tables(run, part, loaded, searched)
    return entry


def search_run(run: Path, loaded: DataSet, part: str, ks: Sequence[int] = ()) -> Searched:
    """Embed a part with the model of a run, and search; no look is logged."""
    settings = Settings.from_dict(runs.read_config(run))
    model, description = checkpoint.load(run)
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
    numbered = (batches[number] for number in range(len(batches)))
    rows = [(model(images.to(device)).float().cpu(), labels, ids) for images, labels, ids in numbered if len(labels)]
    if not rows:
        raise DataError("no image of the part can be read")
    embeddings, labels, ids = (torch.cat(columns) for columns in zip(*rows, strict=True))
    return embeddings, labels, ids


def write_examples(run: Path, part: str, loaded: DataSet, searched: Searched) -> None:
    """Keep queries and their nearest neighbours: the same queries for every run on these data, drawn at random."""
    query, gallery, measured = searched
    order = torch.randperm(len(measured.query_positions), generator=torch.Generator().manual_seed(0))
    chosen = measured.query_positions.sort().values[order[:EXAMPLE_QUERIES]]
    embeddings, labels, ids = (column[chosen] for column in query)
    found = nearest(embeddings, gallery[0], EXAMPLE_NEIGHBORS, query_ids=ids, gallery_ids=gallery[2])
    folder = runs.example_folder(run, part)
    queries = []
    for i, image in enumerate(ids.tolist()):
        neighbors = [
            {
                **_describe(folder, loaded, int(gallery[2][position]), int(gallery[1][position])),
                "similarity": round(similarity, 4),
                "right": bool(gallery[1][position] == labels[i]),
            }
            for similarity, position in zip(found.similarities[i].tolist(), found.positions[i].tolist(), strict=True)
            if position >= 0
        ]
        queries.append({**_describe(folder, loaded, image, int(labels[i])), "neighbors": neighbors})
    runs.write_json(folder / "queries.json", queries)


def write_tables(run: Path, part: str, loaded: DataSet, searched: Searched) -> None:
    """Keep the results of each class, and the worst queries with what was found in their place; the worst first."""
    query, gallery, measured = searched
    folder = runs.example_folder(run, part)
    classes = [
        {"class": loaded.class_names[label], "queries": queries, "R@1": recall, "R-precision": precision, "MAP@R": mean}
        for label, queries, recall, precision, mean in by_class(measured, query[1])
    ]
    runs.write_table(folder / runs.CLASSES, classes)
    worst = worst_first(measured)[:WORST_QUERIES]
    places = measured.query_positions[worst]
    embeddings, labels, ids = (column[places] for column in query)
    found = nearest(embeddings, gallery[0], 1, query_ids=ids, gallery_ids=gallery[2])
    near = found.positions[:, 0]
    columns = (ids, labels, measured.best_rank[worst], measured.average_precision[worst], gallery[2][near])
    rows = [
        {
            "query": loaded.images.name(image),
            "class": loaded.class_names[label],
            "first right at": rank,
            "AP@R": average,
            "nearest": loaded.images.name(nearest_image),
            "its class": loaded.class_names[nearest_label],
            "similarity": similarity,
        }
        for image, label, rank, average, nearest_image, nearest_label, similarity in zip(
            *(column.tolist() for column in columns),
            gallery[1][near].tolist(),
            found.similarities[:, 0].tolist(),
            strict=True,
        )
    ]
    runs.write_table(folder / runs.WORST, rows)


def _describe(folder: Path, loaded: DataSet, image: int, label: int) -> dict[str, Any]:
    path = folder / f"{image}.png"
    if not path.exists():
        picture = loaded.images.read(image)
        picture.thumbnail((THUMBNAIL, THUMBNAIL))
        picture.save(path)
    return {
        "id": image,
        "picture": path.name,
        "name": loaded.images.name(image),
        "class": loaded.class_names[label],
    }


def describe_part(part: Part) -> dict[str, int]:
    """Counts of a part, for tables."""
    counts = part.labels.unique(return_counts=True)[1]
    return {
        "images": len(part),
        "classes": len(counts),
        "fewest": int(counts.min()) if len(counts) else 0,
        "median": int(counts.median()) if len(counts) else 0,
        "most": int(counts.max()) if len(counts) else 0,
        "single": int((counts == 1).sum()),
    }
