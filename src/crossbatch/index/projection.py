"""The map: a place in the plane for each image, by UMAP or PCA; a few new images are put near their neighbours."""

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

FEWEST, FEW = 3, 32  # images: no map below the first, PCA below the second, as UMAP needs more
FITTED = 50_000  # most images that UMAP or PCA is fitted to; the others are put near their neighbours
GROWN = 1.5  # a map is fitted again when there are so many times the images it was fitted to
GRAPH, EPOCHS = 15, 200  # neighbours of each image in UMAP's graph, and its epochs
BLOCK = 512  # images whose distances to all others are in memory at once
NEIGHBOURS = 5  # a new image is put at the weighted mean of so many
Places = NDArray[np.float32]


class Point(NamedTuple):
    """A place in the plane."""

    x: float
    y: float


def read_map(folder: Path, described: Map | None) -> dict[str, Point]:
    """The place of each image on the map, by id; empty without a map."""
    if described is None:
        return {}
    table = PartFile(folder / described.file).read()
    ids, x, y = (table.column(name).to_pylist() for name in ("id", "x", "y"))
    return {id_: Point(*place) for id_, *place in zip(ids, x, y, strict=True)}


def draw_map(writer: Writer) -> str | None:
    """Give every image a place and write the map; return its method, None if no image is new or there are too few."""
    rows, before = writer.rows(), writer.description.map
    known = read_map(writer.folder, before)
    if len(rows) < FEWEST or all(id_ in known for id_ in rows.ids):
        return None
    if before is not None and len(rows) <= GROWN * before.fitted and before.method == _method(len(rows)):
        method, fitted, places = before.method, before.fitted, _beside(rows, known)
    else:
        method, fitted = _method(len(rows)), min(len(rows), FITTED)
        drawn = np.sort(np.random.default_rng(0).permutation(len(rows))[:fitted])
        placed = _pca(rows.embeddings[drawn]) if method == "pca" else _umap(rows.embeddings[drawn])
        fitted_places = {rows.ids[row]: Point(*place) for row, place in zip(drawn, placed.tolist(), strict=True)}
        places = _beside(rows, fitted_places)
    writer.keep_map(rows.ids, places, method, fitted)
    return method


def _method(rows: int) -> str:
    return "umap" if rows >= FEW and find_spec("umap") else "pca"


def _beside(rows: Rows, known: Mapping[str, Point]) -> Places:
    """Places of all images; an image without one is put at the weighted mean of its neighbours with one.

    UMAP's own `transform` needs the fitted object, which could be saved only as a pickle.
    """
    have = np.array([id_ in known for id_ in rows.ids])
    places = np.zeros((len(rows), 2), dtype=np.float32)
    places[have] = [known[id_] for id_ in rows.ids if id_ in known]
    there, among = np.flatnonzero(have), rows.embeddings[have]
    new = np.flatnonzero(~have)
    for row, neighbours in zip(new, nearest(rows.embeddings[new], among, NEIGHBOURS), strict=True):
        weights = np.array([max(similarity, 1e-3) for _, similarity in neighbours])
        positions = there[[position for position, _ in neighbours]]
        places[row] = np.average(places[positions], axis=0, weights=weights)
    return places


def _pca(embeddings: NDArray[np.float32]) -> Places:
    """Places by the two directions of largest variance."""
    centred = embeddings - embeddings.mean(0)
    _, directions = np.linalg.eigh(centred.T @ centred)
    return np.asarray(centred @ directions[:, :-3:-1], dtype=np.float32)


def _umap(embeddings: NDArray[np.float32]) -> Places:
    """Places by UMAP, from exact neighbours: UMAP's own neighbour search takes six times as long to start."""
    import umap  # noqa: PLC0415

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # UMAP warns that it cannot transform new data; `_beside` does that
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
    """The nearest rows of each row, itself first, and their cosine distances; both [images, GRAPH]."""
    near = np.empty((len(embeddings), GRAPH), dtype=np.int64)
    far = np.empty((len(embeddings), GRAPH), dtype=np.float32)
    starts = range(0, len(embeddings), BLOCK)
    for start in watched(starts, f"neighbours for the map, {BLOCK} images each"):
        distances = 1 - embeddings[start : start + BLOCK] @ embeddings.T
        rows = np.arange(len(distances))
        distances[rows, start + rows] = -1  # the row itself comes before its copies
        closest = np.argpartition(distances, GRAPH, axis=1)[:, :GRAPH]
        least = np.take_along_axis(distances, closest, 1)
        order = least.argsort(axis=1)
        near[start : start + BLOCK] = np.take_along_axis(closest, order, 1)
        far[start : start + BLOCK] = np.take_along_axis(least, order, 1).clip(0)
    return near, far
