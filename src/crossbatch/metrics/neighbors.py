"""Exact nearest neighbours by cosine, chunked on both sides: never a query × gallery matrix."""

from typing import NamedTuple

import torch
from torch import Tensor

from crossbatch.shapes import Embeddings, Ids, References, RefIds

QUERY_CHUNK, GALLERY_CHUNK = 512, 8192


class Neighbors(NamedTuple):
    """Similarities and gallery positions [queries, k], most similar first; position −1 where there are fewer."""

    similarities: Tensor
    positions: Tensor


def nearest(
    query: Embeddings, gallery: References, k: int, *, query_ids: Ids | None = None, gallery_ids: RefIds | None = None
) -> Neighbors:
    """The k gallery rows most similar to each query; rows are unit length.

    A gallery row with the id of the query is the query itself and is left out; of equals, the earlier comes first.
    """
    parts = []
    for start in range(0, len(query), QUERY_CHUNK):
        rows = slice(start, start + QUERY_CHUNK)
        own = None if query_ids is None else query_ids[rows]
        parts.append(_nearest_to(query[rows], gallery, k, own, gallery_ids))
    if not parts:
        return Neighbors(query.new_empty(0, k), torch.empty(0, k, dtype=torch.int64))
    return Neighbors(*(torch.cat(columns) for columns in zip(*parts, strict=True)))


def _nearest_to(
    query: Tensor, gallery: Tensor, k: int, own: Tensor | None, gallery_ids: Tensor | None
) -> tuple[Tensor, Tensor]:
    best = query.new_full((len(query), k), -torch.inf)
    where = torch.full((len(query), k), -1, dtype=torch.int64, device=query.device)
    for start in range(0, len(gallery), GALLERY_CHUNK):
        columns = slice(start, start + GALLERY_CHUNK)
        similarities = query @ gallery[columns].T
        if own is not None and gallery_ids is not None:
            similarities.masked_fill_(own[:, None] == gallery_ids[columns], -torch.inf)
        found = similarities.topk(min(k, similarities.shape[1]))
        merged = torch.cat([best, found.values], 1)
        positions = torch.cat([where, found.indices + start], 1)
        # A stable sort keeps what came first among equals; topk promises no order there.
        order = merged.sort(dim=1, descending=True, stable=True).indices[:, :k]
        best, where = merged.gather(1, order), positions.gather(1, order)
    return best, where.masked_fill(best == -torch.inf, -1)
