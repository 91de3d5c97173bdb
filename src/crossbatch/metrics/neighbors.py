"""Exact nearest neighbours by cosine, chunked on both sides: never a query × gallery matrix."""

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
    """Similarities and gallery positions [queries, k], most similar first; position −1 where there are fewer."""

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
    """The k gallery rows most similar to each query, by cosine.

    Rows may have any length but 0, and are finite (`DivergedError`). A gallery row with the id of the query is
    the query itself and is left out; of equals, the earlier comes first. NumPy arrays do as well as tensors.
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
    """Unit rows of both in the wider of their precisions, without gradient; `ShapeError` where they do not fit."""
    require_rows("queries", query)
    require_rows("gallery rows", gallery)
    if query.shape[1] != gallery.shape[1]:
        told = f"got queries {list(query.shape)} and gallery rows {list(gallery.shape)}"
        raise ShapeError(f"queries and gallery rows have one length: {told}")
    wide = torch.promote_types(query.dtype, gallery.dtype)
    rows = ranked_rows(query.detach().to(wide), "queries")
    return rows, rows if gallery is query else ranked_rows(gallery.detach().to(wide), "gallery rows")


def _nearest_to(
    query: Tensor, gallery: Tensor, k: int, own: Tensor | None, gallery_ids: Tensor | None
) -> tuple[Tensor, Tensor]:
    best = query.new_full((len(query), k), -torch.inf)
    where = torch.full((len(query), k), -1, dtype=torch.int64, device=query.device)
    for start in range(0, len(gallery), GALLERY_CHUNK):
        columns = slice(start, start + GALLERY_CHUNK)
        similarities = query @ gallery[columns].T
        if own is not None and gallery_ids is not None:
            similarities.masked_fill_(same_image(own, gallery_ids[columns]), -torch.inf)
        found = _first_of_equals(similarities, min(k, similarities.shape[1]))
        merged = torch.cat([best, similarities.gather(1, found)], 1)
        positions = torch.cat([where, found + start], 1)
        # A stable sort keeps what came first among equals.
        order = merged.sort(dim=1, descending=True, stable=True).indices[:, :k]
        best, where = merged.gather(1, order), positions.gather(1, order)
    return best, where.masked_fill(best == -torch.inf, -1)


def _first_of_equals(similarities: Tensor, k: int) -> Tensor:
    """Columns of the k largest of each row, ascending; topk takes any of those equal to the smallest it takes."""
    found = similarities.topk(min(k + 1, similarities.shape[1]))
    columns = found.indices[:, :k]
    if found.values.shape[1] > k:
        torn = found.values[:, k - 1] == found.values[:, k]
        if torn.any():
            columns[torn] = similarities[torn].sort(dim=1, descending=True, stable=True).indices[:, :k]
    return columns.sort(dim=1).values


def same_image(ids: Tensor, others: Tensor) -> Tensor:
    """Mask [ids, others] of equal ids; an unknown one, −1, equals nothing."""
    return (ids[:, None] == others) & (ids[:, None] >= 0)
