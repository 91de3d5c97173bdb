"""Labels that the embeddings contradict: images whose neighbours agree on another label, and classes that are one."""

from typing import NamedTuple

import torch
from torch import Tensor

from crossbatch.metrics.neighbors import Neighbors, nearest
from crossbatch.shapes import Embeddings, Ids, Labels

NEIGHBORS = 8
ALIKE = 0.99  # cosine from which two images may be one


class Suspects(NamedTuple):
    """Rows whose neighbours agree on another label, the surest first, [suspects] each; and what was found for all rows.

    `positions`: which rows. `labels`: what the neighbours say. `scores`: the similarity to neighbours of that label
    less that to neighbours of the own one, by that to all neighbours; 1 where all agree. `found`: the neighbours of all
    rows.
    """

    positions: Tensor
    labels: Tensor
    scores: Tensor
    found: Neighbors


def suspects(embeddings: Embeddings, labels: Labels, ids: Ids, k: int = NEIGHBORS) -> Suspects:
    """Compare the label of each row with those of its `k` nearest other rows; `ids` say which image a row is.

    Of a class with fewer other rows so many are asked: those beyond must be of other classes.
    """
    found = nearest(embeddings, embeddings, k, query_ids=ids, gallery_ids=ids)
    votes = found.similarities.clamp(min=0).masked_fill(~_asked(labels, found), 0)
    told = labels[found.positions.clamp(min=0)]
    of_label = torch.stack([(votes * (told == told[:, place, None])).sum(1) for place in range(told.shape[1])], 1)
    other, place = of_label.masked_fill(told == labels[:, None], 0).max(1)
    own = (votes * (told == labels[:, None])).sum(1)
    scores = (other - own) / votes.sum(1).clamp(min=1e-6)
    order = scores.argsort(descending=True, stable=True)
    order = order[scores[order] > 0]
    return Suspects(order, told.gather(1, place[:, None])[order, 0], scores[order], found)


def class_pairs(labels: Labels, found: Neighbors, least: float = 0.25) -> list[tuple[int, int, float]]:
    """Pairs of classes that lie among each other, and how much: the lesser share of neighbours in the other class."""
    classes, place = labels.unique(return_inverse=True)
    near = place[found.positions.clamp(min=0)]
    asked = _asked(labels, found)
    codes, counts = (place[:, None] * len(classes) + near)[asked].unique(return_counts=True)
    of_class = place.bincount(asked.sum(1), minlength=len(classes))
    shares = {
        (code // len(classes), code % len(classes)): count / int(of_class[code // len(classes)])
        for code, count in zip(codes.tolist(), counts.tolist(), strict=True)
    }
    pairs = [
        (int(classes[one]), int(classes[other]), min(share, shares.get((other, one), 0.0)))
        for (one, other), share in shares.items()
        if one < other
    ]
    return sorted((pair for pair in pairs if pair[2] >= least), key=lambda pair: -pair[2])


def _asked(labels: Tensor, found: Neighbors) -> Tensor:
    """Mask of the neighbours that are asked for their labels, [rows, k]: as many as a class has other rows."""
    _, place, counts = labels.unique(return_inverse=True, return_counts=True)
    rank = torch.arange(found.positions.shape[1], device=labels.device)
    asked: Tensor = (rank < counts[place, None] - 1) & (found.positions >= 0)
    return asked


def alike(found: Neighbors, least: float = ALIKE) -> list[tuple[int, int, float]]:
    """Pairs of rows that are each other's or one's nearest, and as similar as this; the most similar first."""
    first, similarity = found.positions[:, 0], found.similarities[:, 0]
    rows = (similarity >= least).nonzero()[:, 0]
    columns = (rows.tolist(), first[rows].tolist(), similarity[rows].tolist())
    pairs = {(min(row, near), max(row, near)): cosine for row, near, cosine in zip(*columns, strict=True)}
    return sorted(((one, other, cosine) for (one, other), cosine in pairs.items()), key=lambda pair: -pair[2])
