"""Retrieval metrics as the metric-learning papers define them: Recall@K, R-precision, MAP@R.

For each query, the gallery (without the query itself) is ranked by cosine; a row is relevant if it has the
query's class, and R is how many are.

* Recall@K: 1 if a relevant row is among the first K, else 0 (Jégou et al., 2011, as used for SOP and In-shop).
  Information retrieval calls this success at K; its own recall is another measure.
* R-precision: the share of relevant rows among the first R.
* MAP@R: the mean over ranks i = 1 … R of (precision among the first i if rank i is relevant, else 0)
  (Musgrave et al., A Metric Learning Reality Check, ECCV 2020).

**Ties.** A row that is not relevant ranks before a relevant one unless the relevant one is more similar by more
than `TIE`: a model that maps everything to one point scores 0, not 1. Queries without a relevant row are left out
and counted.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from crossbatch.errors import DivergedError, SettingError, ShapeError
from crossbatch.metrics.neighbors import GALLERY_CHUNK, QUERY_CHUNK, same_image
from crossbatch.shapes import Embeddings, Ids, Labels, References, RefIds, RefLabels

TIE = 1e-6  # about the rounding error of a float32 product of unit vectors


@dataclass(frozen=True)
class Retrieval:
    """Means over the queries, in [0, 1], and the values of each query that has a relevant row, by its position."""

    recall: dict[int, float]
    r_precision: float
    map_at_r: float
    queries: int
    left_out: int
    query_positions: Tensor
    best_rank: Tensor

    def summary(self) -> dict[str, float]:
        """Names and values, as in every table and file."""
        recall = {f"R@{k}": value for k, value in self.recall.items()}
        return recall | {"R-precision": self.r_precision, "MAP@R": self.map_at_r}


def evaluate(
    query: Embeddings,
    query_labels: Labels,
    query_ids: Ids,
    gallery: References,
    gallery_labels: RefLabels,
    gallery_ids: RefIds,
    ks: Sequence[int] = (1, 2, 4, 8),
) -> Retrieval:
    """Search every query in the gallery. Rows are unit length; a gallery row with the query's id is left out."""
    if not ks or min(ks) < 1:
        raise SettingError(f"Recall@K needs K of at least 1, got {list(ks)}")
    for name, rows, labels, ids in (
        ("queries", query, query_labels, query_ids),
        ("gallery rows", gallery, gallery_labels, gallery_ids),
    ):
        if not len(rows) == len(labels) == len(ids):
            raise ShapeError(f"{len(rows)} {name} need as many labels and ids, got {len(labels)} and {len(ids)}")
        if not rows.isfinite().all():
            raise DivergedError(
                f"the embeddings of the {name} are not finite and cannot be ranked: "
                "training diverged; lower the learning rate"
            )
    # Sorted by class, the relevant rows of a chunk of queries are neighbours in the gallery.
    by_class = query_labels.argsort(stable=True)
    order = gallery_labels.argsort(stable=True)
    gallery, gallery_labels, gallery_ids = gallery[order], gallery_labels[order], gallery_ids[order]
    best, precision, mean_precision, kept = [], [], [], []
    for rows in by_class.split(QUERY_CHUNK) if len(query) else ():
        ranks, relevant = _ranks(query[rows], query_labels[rows], query_ids[rows], gallery, gallery_labels, gallery_ids)
        has = relevant > 0
        ranks, relevant = ranks[has], relevant[has]
        kept.append(rows[has])
        if not has.any():
            continue
        within = ranks <= relevant[:, None]
        place = torch.arange(1, ranks.shape[1] + 1, device=ranks.device)
        best.append(ranks[:, 0])
        precision.append(within.sum(1) / relevant)
        mean_precision.append((within * place / ranks).sum(1) / relevant)
    positions = torch.cat(kept) if kept else torch.empty(0, dtype=torch.int64)
    if not best:
        raise ShapeError("no query has another image of its class in the gallery: there is nothing to measure")
    first = torch.cat(best)
    return Retrieval(
        {k: (first <= k).double().mean().item() for k in ks},
        torch.cat(precision).double().mean().item(),
        torch.cat(mean_precision).double().mean().item(),
        len(first),
        len(query) - len(first),
        positions,
        first,
    )


def _ranks(
    query: Tensor, labels: Tensor, ids: Tensor, gallery: Tensor, gallery_labels: Tensor, gallery_ids: Tensor
) -> tuple[Tensor, Tensor]:
    """Rank of each relevant row, ascending, [queries, most relevant]; beyond a query's R it is past any K."""
    thresholds, relevant = _relevant(query, labels, ids, gallery, gallery_labels, gallery_ids)
    most = thresholds.shape[1]
    # Negatives at or above each threshold: count, for each, how many thresholds lie at or below it.
    histogram = torch.zeros(len(query), most + 1, dtype=torch.int64, device=query.device)
    ascending = (thresholds - TIE).flip(1).contiguous()
    for start in range(0, len(gallery), GALLERY_CHUNK):
        columns = slice(start, start + GALLERY_CHUNK)
        similarities = query @ gallery[columns].T
        negative = labels[:, None] != gallery_labels[columns]
        negative &= ~same_image(ids, gallery_ids[columns])
        reached = torch.searchsorted(ascending, similarities.masked_fill_(~negative, -torch.inf), right=True)
        histogram.scatter_add_(1, reached, negative.long())
    above = histogram.flip(1).cumsum(1)[:, :most].flip(1)  # of the ascending thresholds: negatives at or above
    ranks = above.flip(1) + torch.arange(1, most + 1, device=query.device)
    missing = torch.arange(most, device=query.device) >= relevant[:, None]
    return ranks.masked_fill_(missing, torch.iinfo(torch.int64).max), relevant


def _relevant(
    query: Tensor, labels: Tensor, ids: Tensor, gallery: Tensor, gallery_labels: Tensor, gallery_ids: Tensor
) -> tuple[Tensor, Tensor]:
    """Similarities of the relevant rows, descending, −2 where there are fewer; and how many there are."""
    first, last = torch.searchsorted(gallery_labels, labels), torch.searchsorted(gallery_labels, labels, right=True)
    most = max(int((last - first).max()), 1)
    # −2 is below every cosine: what is missing sorts to the end, and no negative is counted against it.
    found = query.new_full((len(query), most), -2.0)
    for start in range(int(first.min()), int(last.max()), GALLERY_CHUNK):
        columns = slice(start, min(start + GALLERY_CHUNK, int(last.max())))
        similarities = query @ gallery[columns].T
        relevant = labels[:, None] == gallery_labels[columns]
        relevant &= ~same_image(ids, gallery_ids[columns])
        row, column = relevant.nonzero(as_tuple=True)
        found[row, column + start - first[row]] = similarities[row, column]
    return found.sort(dim=1, descending=True).values, (found > -2).sum(1)
