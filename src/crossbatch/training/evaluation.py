"""Search a part of the data set with a trained model: metrics, and examples for a person to look at."""

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from crossbatch import runs
from crossbatch.data.images import PartBatches, Reader
from crossbatch.data.records import DataSet, Part
from crossbatch.data.transforms import Evenly, Preprocessing
from crossbatch.errors import DataError
from crossbatch.metrics import Retrieval, evaluate, nearest
from crossbatch.models import checkpoint
from crossbatch.models.embedder import Embedder
from crossbatch.training.settings import Settings

PartName = Literal["test", "validation"]
EXAMPLE_QUERIES, EXAMPLE_NEIGHBORS, THUMBNAIL = 24, 8, 64


def evaluate_run(
    run: Path, loaded: DataSet, part: PartName = "test", ks: Sequence[int] = (1, 2, 4, 8)
) -> dict[str, Any]:
    """Search a part with the model of a run; the look is logged in the run folder, with examples beside it."""
    settings = Settings.from_dict(runs.read_config(run))
    runs.require_data(run, loaded.identity)
    model, description = checkpoint.load(run)
    evenly = Evenly(Preprocessing.restore(description.preprocessing))
    reader = Reader(loaded.images, settings.loop.on_corrupt)
    query_part, gallery_part = (loaded.query, loaded.gallery) if part == "test" else (loaded.validation, None)
    if len(query_part) == 0:
        raise DataError(f"{loaded.name} has no {part} part to search")
    began = time.perf_counter()
    query = embed(model, PartBatches(reader, query_part, evenly))
    gallery = query if gallery_part is None else embed(model, PartBatches(reader, gallery_part, evenly))
    measured = evaluate(*query, *gallery, ks=ks)
    entry = {
        "part": part,
        "data": loaded.name,
        "fingerprint": loaded.fingerprint,
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        **measured.summary(),
        "queries": measured.queries,
        "left_out": measured.left_out,
        "gallery": len(gallery[1]),
        "classes": query_part.classes,
        "seconds": round(time.perf_counter() - began, 2),
    }
    entry["look"] = runs.add_evaluation(run, entry)
    write_examples(run, part, loaded, query, gallery, measured)
    return entry


@torch.no_grad()
def embed(model: Embedder, batches: PartBatches) -> tuple[Tensor, Tensor, Tensor]:
    """Embeddings [images, dim], labels and ids of a part, on the CPU."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = model.to(device).eval()
    numbered = (batches[number] for number in range(len(batches)))
    rows = [(model(images.to(device)).float().cpu(), labels, ids) for images, labels, ids in numbered if len(labels)]
    if not rows:
        raise DataError("no image of the part can be read")
    embeddings, labels, ids = (torch.cat(columns) for columns in zip(*rows, strict=True))
    return embeddings, labels, ids


def write_examples(
    run: Path,
    part: str,
    loaded: DataSet,
    query: tuple[Tensor, Tensor, Tensor],
    gallery: tuple[Tensor, Tensor, Tensor],
    measured: Retrieval,
) -> None:
    """Keep queries and their nearest neighbours: the same queries for every run on these data, drawn at random."""
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
