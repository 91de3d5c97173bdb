"""A place in the plane for each image, near those that are similar: UMAP when many are new, neighbours when few are."""

import warnings
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from crossbatch.index.description import Map
from crossbatch.index.part_files import PartFile
from crossbatch.index.rows import Rows
from crossbatch.index.search import nearest
from crossbatch.index.writer import Writer
from crossbatch.progress import watched

FEWEST, FEW = 3, 32  # images: below the first there is no map, below the second UMAP has too little to go by
FITTED = 50_000  # images that a map is found from at most; the others are put beside these
GROWN = 1.5  # a map is found anew when there are so many times the images it was found from
GRAPH, EPOCHS = 15, 200  # neighbours of an image that UMAP keeps near it, and its passes
BLOCK = 512  # images whose distances to all are in memory at once
NEIGHBOURS = 5  # whose middle a new image is put at
Places = NDArray[np.float32]


class Point(NamedTuple):
    """A place in the plane."""

    x: float
    y: float


def read_map(folder: Path, described: Map | None) -> dict[str, Point]:
    """The place of each image that has one."""
    if described is None:
        return {}
    table = PartFile(folder / described.file).read()
    ids, x, y = (table.column(name).to_pylist() for name in ("id", "x", "y"))
    return {one: Point(*place) for one, *place in zip(ids, x, y, strict=True)}


def draw_map(writer: Writer) -> str | None:
    """Give every image a place, and keep it; how it was found, None where nothing is new or there are too few."""
    rows, before = writer.rows(), writer.description.map
    known = read_map(writer.folder, before)
    if len(rows) < FEWEST or all(one in known for one in rows.ids):
        return None
    if before is not None and len(rows) <= GROWN * before.fitted and before.method == _method(len(rows)):
        method, fitted, places = before.method, before.fitted, _beside(rows, known)
    else:
        method, fitted = _method(len(rows)), min(len(rows), FITTED)
        drawn = np.sort(np.random.default_rng(0).permutation(len(rows))[:fitted])
        placed = _pca(rows.embeddings[drawn]) if method == "pca" else _umap(rows.embeddings[drawn])
        found = {rows.ids[row]: Point(*place) for row, place in zip(drawn, placed.tolist(), strict=True)}
        places = _beside(rows, found)
    writer.keep_map(rows.ids, places, method, fitted)
    return method


def _method(rows: int) -> str:
    return "umap" if rows >= FEW and find_spec("umap") else "pca"


def _beside(rows: Rows, known: Mapping[str, Point]) -> Places:
    """The places of all; one that has none is put in the middle of the most similar that have one.

    UMAP's own `transform` needs the fitted object, which only a pickle keeps.
    """
    have = np.array([one in known for one in rows.ids])
    places = np.zeros((len(rows), 2), dtype=np.float32)
    places[have] = [known[one] for one in rows.ids if one in known]
    there, among = np.flatnonzero(have), rows.embeddings[have]
    new = np.flatnonzero(~have)
    for row, neighbours in zip(new, nearest(rows.embeddings[new], among, NEIGHBOURS), strict=True):
        weights = np.array([max(similarity, 1e-3) for _, similarity in neighbours])
        positions = there[[position for position, _ in neighbours]]
        places[row] = np.average(places[positions], axis=0, weights=weights)
    return places


def _pca(embeddings: NDArray[np.float32]) -> Places:
    """The two directions in which the rows differ most."""
    centred = embeddings - embeddings.mean(0)
    _, directions = np.linalg.eigh(centred.T @ centred)
    return np.asarray(centred @ directions[:, :-3:-1], dtype=np.float32)


def _umap(embeddings: NDArray[np.float32]) -> Places:
    """By UMAP, from neighbours found exactly: its own search for them takes six times as long to start."""
    import umap  # noqa: PLC0415

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it cannot transform: new images are put beside their neighbours
        fitted: Any = umap.UMAP(
            n_neighbors=GRAPH,
            n_epochs=EPOCHS,
            metric="cosine",
            init="pca",
            random_state=0,
            n_jobs=1,
            precomputed_knn=_graph(embeddings),
        )
        return np.asarray(fitted.fit_transform(embeddings), dtype=np.float32)


def _graph(embeddings: NDArray[np.float32]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The nearest rows of each, itself the first, and how far they are [images, GRAPH] each."""
    near = np.empty((len(embeddings), GRAPH), dtype=np.int64)
    far = np.empty((len(embeddings), GRAPH), dtype=np.float32)
    starts = range(0, len(embeddings), BLOCK)
    for start in watched(starts, f"neighbours for the map, {BLOCK} images each"):
        distances = 1 - embeddings[start : start + BLOCK] @ embeddings.T
        rows = np.arange(len(distances))
        distances[rows, start + rows] = -1  # itself before its copies
        found = np.argpartition(distances, GRAPH, axis=1)[:, :GRAPH]
        some = np.take_along_axis(distances, found, 1)
        order = some.argsort(axis=1)
        near[start : start + BLOCK] = np.take_along_axis(found, order, 1)
        far[start : start + BLOCK] = np.take_along_axis(some, order, 1).clip(0)
    return near, far
