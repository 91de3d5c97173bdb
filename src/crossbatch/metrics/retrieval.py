"""Retrieval metrics as the metric-learning papers define them: Recall@K, R-precision, MAP@R, IR-recall@K.

For each query, the gallery (without the query itself) is ranked by cosine. A row is relevant if it has the
query's class. R is the number of relevant rows.

* Recall@K: 1 if a relevant row is among the first K, else 0 (Jégou et al., 2011, as used for SOP and In-shop).
  Information retrieval calls this success at K. Its recall is IR-recall@K.
* IR-recall@K: the share of the relevant rows that are among the first K; it can reach 1 only if K is at least R.
* R-precision: the share of relevant rows among the first R.
* MAP@R: the mean over ranks i = 1 … R of (precision among the first i if rank i is relevant, else 0)
  (Musgrave et al., A Metric Learning Reality Check, ECCV 2020).

**Ties.** A relevant row ranks before another row only if it is more similar by more than `TIE`. So a model that maps
everything to one point scores 0, not 1. Queries without a relevant row are left out; `left_out` counts them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from crossbatch.errors import SettingError, ShapeError
from crossbatch.metrics.neighbors import ranked_alike, same_image
from crossbatch.precision import exactly
from crossbatch.row_search import pack, places
from crossbatch.shapes import (
    Array,
    Embeddings,
    Ids,
    Labels,
    References,
    RefIds,
    RefLabels,
    require_one_each,
    require_rows,
    tensor_of,
)

# 2 MB of similarities, reused for every block: a product into 16 MB of new memory takes three times as long.
QUERY_CHUNK, GALLERY_CHUNK = 512, 1024
TIE = 1e-6  # about the rounding error of a float32 product of unit vectors


@dataclass(frozen=True, repr=False)
class Retrieval:
    """Metrics of each query that has a relevant row, tensors [queries]; and their means, in [0, 1].

    `query_positions`: index of the query. `best_rank`: rank of the first relevant row, from 1. `precision`:
    R-precision. `average_precision`: its term of MAP@R. `found`: for each K, IR-recall@K, the share of the relevant
    rows that are among the first K. `left_out`: number of queries without a relevant row.
    """

    query_positions: Tensor
    best_rank: Tensor
    precision: Tensor
    average_precision: Tensor
    found: dict[int, Tensor]
    left_out: int

    @property
    def queries(self) -> int:
        """Number of queries with a relevant row."""
        return len(self.best_rank)

    @property
    def recall(self) -> dict[int, float]:
        """Recall@K for each K: the share of queries with a relevant row among the first K."""
        return {k: _mean(self.best_rank <= k) for k in self.found}

    @property
    def r_precision(self) -> float:
        """Mean R-precision."""
        return _mean(self.precision)

    @property
    def map_at_r(self) -> float:
        """MAP@R."""
        return _mean(self.average_precision)

    def __repr__(self) -> str:
        means = ", ".join(f"{name}={value:.4f}" for name, value in self.summary().items())
        return f"Retrieval({means}, queries={self.queries}, left_out={self.left_out})"

    def summary(self) -> dict[str, float]:
        """Mean of each metric, under its name in tables and files."""
        recall = {f"R@{k}": value for k, value in self.recall.items()}
        found = {f"IR-recall@{k}": _mean(share) for k, share in self.found.items()}
        return recall | {"R-precision": self.r_precision, "MAP@R": self.map_at_r} | found


def _mean(values: Tensor) -> float:
    return values.double().mean().item()


@exactly
def evaluate(
    query: Embeddings | Array,
    query_labels: Labels | Array,
    query_ids: Ids | Array | None = None,
    gallery: References | Array | None = None,
    gallery_labels: RefLabels | Array | None = None,
    gallery_ids: RefIds | Array | None = None,
    ks: Sequence[int] = (1, 2, 4, 8),
) -> Retrieval:
    """Search every query in the gallery, or among the other queries if there is no gallery, and measure the ranking.

    Takes tensors or NumPy arrays. Rows may have any length but 0; raises `DivergedError` if a row is zero or not
    finite. `query_ids`, `gallery_ids`: image of each row (−1: unknown). A gallery row with the query's id is left out.
    Without a gallery the query's own row is left out too.
    """
    query, query_labels, query_ids = tensor_of(query), tensor_of(query_labels), tensor_of(query_ids)
    gallery, gallery_labels, gallery_ids = tensor_of(gallery), tensor_of(gallery_labels), tensor_of(gallery_ids)
    if isinstance(query_ids, Tensor) and query_ids.ndim == 2:
        raise ShapeError("the third argument of evaluate is query_ids: give a gallery by name, gallery=…")
    if (gallery is None) != (gallery_labels is None):
        raise ShapeError("gallery and gallery_labels go together: give both, or neither to search among the queries")
    if gallery is None and gallery_ids is not None:
        raise ShapeError("gallery_ids go with a gallery: leave them out to search among the queries, or give it")
    if gallery is not None and (query_ids is None) != (gallery_ids is None):
        raise ShapeError("query_ids and gallery_ids go together: give both or neither; −1 is unknown")
    refuse_ks(ks)
    require_rows("queries", query)
    require_one_each(len(query), "queries", labels=query_labels, ids=query_ids)
    if gallery is None or gallery_labels is None:
        query_ids = _one_each(query_ids, query_labels)
        gallery, gallery_labels, gallery_ids = query, query_labels, query_ids
    query_ids = torch.full_like(query_labels, -1) if query_ids is None else query_ids
    gallery_ids = torch.full_like(gallery_labels, -1) if gallery_ids is None else gallery_ids
    require_rows("gallery rows", gallery)
    require_one_each(len(gallery), "gallery rows", labels=gallery_labels, ids=gallery_ids)
    query, gallery = ranked_alike(query, gallery)
    # With both sorted by class, the relevant rows of a chunk of queries are contiguous in the gallery.
    by_class = query_labels.argsort(stable=True)
    order = gallery_labels.argsort(stable=True)
    gallery, gallery_labels, gallery_ids = gallery[order], gallery_labels[order], gallery_ids[order]
    parts = []
    for rows in by_class.split(QUERY_CHUNK) if len(query) else ():
        chunk = query[rows], query_labels[rows], query_ids[rows]
        parts.append(_measure(rows, ks, *_ranks(*chunk, gallery, gallery_labels, gallery_ids, max(ks))))
    parts = [part for part in parts if part.queries]
    if not parts:
        raise ShapeError("no query has another image of its class in the gallery: there is nothing to measure")
    columns = ((part.query_positions, part.best_rank, part.precision, part.average_precision) for part in parts)
    position, best, precision, average = (torch.cat(column) for column in zip(*columns, strict=True))
    found = {k: torch.cat([part.found[k] for part in parts]) for k in ks}
    return Retrieval(position, best, precision, average, found, len(query) - len(best))


def refuse_ks(ks: Sequence[int]) -> None:
    """Refuse values of K that are not whole numbers of at least 1."""
    if not isinstance(ks, Sequence) or not all(hasattr(k, "__index__") for k in ks):
        raise SettingError(f"ks is a list of K, as [1, 10], got {ks!r}")
    if not ks or min(ks) < 1:
        raise SettingError(f"Recall@K needs K of at least 1, got {list(ks)}")


def _one_each(ids: Tensor | None, labels: Tensor) -> Tensor:
    """Ids of rows that are searched among themselves; a row with an unknown id gets an id of its own."""
    own = len(labels) + torch.arange(len(labels), device=labels.device)
    return own if ids is None else torch.where(ids < 0, own, ids.unique(return_inverse=True)[1])


def _measure(rows: Tensor, ks: Sequence[int], ranks: Tensor, relevant: Tensor) -> Retrieval:
    """The metrics of some queries, given the ranks of their relevant rows."""
    measurable = relevant > 0
    rows, ranks, relevant = rows[measurable], ranks[measurable], relevant[measurable]
    within = ranks <= relevant[:, None]
    place = torch.arange(1, ranks.shape[1] + 1, device=ranks.device)
    found = {k: (ranks <= k).sum(1) / relevant for k in ks}
    average = (within * place / ranks).sum(1) / relevant
    return Retrieval(rows, ranks[:, 0], within.sum(1) / relevant, average, found, int((~measurable).sum()))


def _ranks(
    query: Tensor,
    labels: Tensor,
    ids: Tensor,
    gallery: Tensor,
    gallery_labels: Tensor,
    gallery_ids: Tensor,
    greatest_k: int,
) -> tuple[Tensor, Tensor]:
    """Rank of each relevant row, ascending, [queries, greatest R]; entries beyond a query's R exceed any K.

    The first rank of a query is exact. Another rank past both `greatest_k` and R may be too low, but stays past them;
    no metric depends on it.
    """
    thresholds, relevant = _relevant(query, labels, ids, gallery, gallery_labels, gallery_ids)
    thresholds -= TIE
    most = thresholds.shape[1]
    missing = torch.arange(most, device=query.device) >= relevant[:, None]
    past = relevant.clamp(min=greatest_k)[:, None]
    table = pack(thresholds.flip(1))
    counts = torch.zeros(len(query), most + 1, dtype=torch.int64, device=query.device)
    memory = query.new_empty(len(query) * GALLERY_CHUNK)
    for number, start in enumerate(range(0, len(gallery), GALLERY_CHUNK)):
        if number & (number - 1) == 0:  # at blocks 0, 1, 2, 4, 8, …: stop counting for ranks that no metric needs
            counted = ~missing & (_above(counts) <= past)
            counted[:, 0] = ~missing[:, 0]
            lowest = thresholds.masked_fill(~counted, torch.inf).amin(1, keepdim=True)
        block = gallery[start : start + GALLERY_CHUNK]
        similarities = torch.mm(query, block.T, out=memory[: len(query) * len(block)].view(len(query), len(block)))
        row, column = (similarities >= lowest).nonzero(as_tuple=True)
        negative = gallery_labels[column + start] != labels[row]
        negative &= (gallery_ids[column + start] != ids[row]) | (ids[row] < 0)
        row, column = row[negative], column[negative]
        reached = places(table, row, similarities[row, column], right=True)
        counts += (reached + row).bincount(minlength=counts.numel()).view_as(counts)
    ranks = _above(counts) + torch.arange(1, most + 1, device=query.device)
    return ranks.masked_fill_(missing, torch.iinfo(torch.int64).max), relevant


def _above(counts: Tensor) -> Tensor:
    """Number of negatives at or above each threshold, descending, from the numbers between neighbouring thresholds."""
    return counts.flip(1).cumsum(1)[:, :-1]


def _relevant(
    query: Tensor, labels: Tensor, ids: Tensor, gallery: Tensor, gallery_labels: Tensor, gallery_ids: Tensor
) -> tuple[Tensor, Tensor]:
    """Similarities of each query's relevant rows, descending, filled up with −2; and the number of these rows."""
    first, last = torch.searchsorted(gallery_labels, labels), torch.searchsorted(gallery_labels, labels, right=True)
    most = max(int((last - first).max()), 1)
    # −2 is below every cosine, so missing entries sort to the end.
    relevant_similarities = query.new_full((len(query), most), -2.0)
    for start in range(int(first.min()), int(last.max()), GALLERY_CHUNK):
        columns = slice(start, min(start + GALLERY_CHUNK, int(last.max())))
        similarities = query @ gallery[columns].T
        relevant = labels[:, None] == gallery_labels[columns]
        relevant &= ~same_image(ids, gallery_ids[columns])
        row, column = relevant.nonzero(as_tuple=True)
        relevant_similarities[row, column + start - first[row]] = similarities[row, column]
    return relevant_similarities.sort(dim=1, descending=True).values, (relevant_similarities > -2).sum(1)
