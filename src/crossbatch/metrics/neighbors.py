"""Exact nearest neighbours by cosine, in chunks of queries and gallery, without the whole query × gallery matrix."""

from typing import NamedTuple

import torch
from torch import Tensor

from crossbatch.errors import SettingError, ShapeError
from crossbatch.precision import exactly
from crossbatch.shapes import (
    Array,
    Embeddings,
    Ids,
    References,
    RefIds,
    ranked_rows,
    require_one_each,
    require_rows,
    tensor_of,
)

QUERY_CHUNK, GALLERY_CHUNK = 512, 8192


class Neighbors(NamedTuple):
    """Similarities and gallery positions [queries, k], most similar first; position −1 where neighbours are missing."""

    similarities: Tensor
    positions: Tensor


@exactly
def nearest(
    query: Embeddings | Array,
    gallery: References | Array,
    k: int,
    *,
    query_ids: Ids | Array | None = None,
    gallery_ids: RefIds | Array | None = None,
) -> Neighbors:
    """Find the k gallery rows most similar to each query, by cosine.

    Takes tensors or NumPy arrays. Rows may have any length but 0; raises `DivergedError` if a row is zero or not
    finite. A gallery row with the id of the query is the query itself and is left out. Of rows with equal similarity,
    the one at the lower position comes first.
    """
    query, gallery = tensor_of(query), tensor_of(gallery)
    query_ids, gallery_ids = tensor_of(query_ids), tensor_of(gallery_ids)
    if not hasattr(k, "__index__") or k < 1:
        raise SettingError(f"a search needs k of at least 1, got {k!r}")
    if (query_ids is None) != (gallery_ids is None):
        raise ShapeError("query_ids and gallery_ids go together: bring both, or neither")
    require_one_each(len(query), "queries", query_ids=query_ids)
    require_one_each(len(gallery), "gallery rows", gallery_ids=gallery_ids)
    query, gallery = ranked_alike(query, gallery)
    parts = []
    for start in range(0, len(query), QUERY_CHUNK):
        rows = slice(start, start + QUERY_CHUNK)
        own = None if query_ids is None else query_ids[rows]
        parts.append(_nearest_to(query[rows], gallery, k, own, gallery_ids))
    if not parts:
        return Neighbors(query.new_empty(0, k), torch.empty(0, k, dtype=torch.int64))
    return Neighbors(*(torch.cat(columns) for columns in zip(*parts, strict=True)))


def ranked_alike(query: Tensor, gallery: Tensor) -> tuple[Tensor, Tensor]:
    """Unit rows of both, without gradient, in the wider of their dtypes; `ShapeError` if they do not fit together."""
    require_rows("queries", query)
    require_rows("gallery rows", gallery)
    if query.shape[1] != gallery.shape[1]:
        shapes = f"got queries {list(query.shape)} and gallery rows {list(gallery.shape)}"
        raise ShapeError(f"queries and gallery rows must have the same length: {shapes}")
    wide = torch.promote_types(query.dtype, gallery.dtype)
    rows = ranked_rows(query.detach().to(wide), "queries")
    return rows, rows if gallery is query else ranked_rows(gallery.detach().to(wide), "gallery rows")


def _nearest_to(
    query: Tensor, gallery: Tensor, k: int, own: Tensor | None, gallery_ids: Tensor | None
) -> tuple[Tensor, Tensor]:
    best = query.new_full((len(query), k), -torch.inf)
    best_positions = torch.full((len(query), k), -1, dtype=torch.int64, device=query.device)
    for start in range(0, len(gallery), GALLERY_CHUNK):
        columns = slice(start, start + GALLERY_CHUNK)
        similarities = query @ gallery[columns].T
        if own is not None and gallery_ids is not None:
            similarities.masked_fill_(same_image(own, gallery_ids[columns]), -torch.inf)
        top = _first_of_equals(similarities, min(k, similarities.shape[1]))
        merged = torch.cat([best, similarities.gather(1, top)], 1)
        positions = torch.cat([best_positions, top + start], 1)
        # A stable sort keeps the order of equal similarities.
        order = merged.sort(dim=1, descending=True, stable=True).indices[:, :k]
        best, best_positions = merged.gather(1, order), positions.gather(1, order)
    return best, best_positions.masked_fill(best == -torch.inf, -1)


def _first_of_equals(similarities: Tensor, k: int) -> Tensor:
    """Columns of the k largest values of each row, ascending; of equal values the first columns.

    `topk` alone may take any of the values that equal its smallest.
    """
    top = similarities.topk(min(k + 1, similarities.shape[1]))
    columns = top.indices[:, :k]
    if top.values.shape[1] > k:
        tied = top.values[:, k - 1] == top.values[:, k]
        if tied.any():
            columns[tied] = similarities[tied].sort(dim=1, descending=True, stable=True).indices[:, :k]
    return columns.sort(dim=1).values


def same_image(ids: Tensor, others: Tensor) -> Tensor:
    """Mask [ids, others] of equal ids; −1 is unknown and equals nothing."""
    return (ids[:, None] == others) & (ids[:, None] >= 0)
