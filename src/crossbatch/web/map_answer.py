"""The map of a gallery as one JSON answer for the page, by column."""

import gzip
import json
from typing import NamedTuple

import numpy as np

from crossbatch.index import Gallery
from crossbatch.index.rows import Rows

DIGITS = 5  # decimals of a coordinate; finer than the pixels of a screen


class Packed(NamedTuple):
    """A JSON body, plain and gzipped, and its ETag."""

    plain: bytes
    compressed: bytes
    etag: str


def packed_map(gallery: Gallery, rows: Rows, limit: int) -> Packed:
    """The places of at most `limit` images, always the same ones; scaled so that the longer side of the map is 1."""
    points = gallery.map(rows)
    placed = np.array([row for row, id_ in enumerate(rows.ids) if id_ in points], dtype=np.int64)
    shown = np.sort(np.random.default_rng(0).permutation(placed)[:limit])
    places = np.array([points[rows.ids[row]] for row in placed], dtype=np.float64).reshape(-1, 2)
    low = places.min(0, initial=np.inf) if len(places) else np.zeros(2)
    span = max(float((places.max(0) - low).max()), 1e-12) if len(places) else 1.0
    at = (np.array([points[rows.ids[row]] for row in shown], dtype=np.float64).reshape(-1, 2) - low) / span
    described = rows.description.map
    content = {
        "method": described.method if described else "none",
        "total": len(placed),
        "labels": rows.labels,
        "id": [rows.ids[row] for row in shown],
        "x": at[:, 0].round(DIGITS).tolist(),
        "y": at[:, 1].round(DIGITS).tolist(),
        "label": rows.label_of[shown].tolist(),
    }
    plain = json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()
    return Packed(plain, gzip.compress(plain, 4), f'"{rows.description.version}-{limit}"')
