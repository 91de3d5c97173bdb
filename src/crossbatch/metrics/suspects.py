"""Labels that embeddings contradict: images whose neighbours have another label, and classes that overlap."""

from typing import NamedTuple

import torch
from torch import Tensor

from crossbatch.metrics.neighbors import Neighbors, nearest
from crossbatch.shapes import Embeddings, Ids, Labels

NEIGHBORS = 8
ALIKE = 0.99  # cosine from which two images may be copies of one image


class Suspects(NamedTuple):
    """Rows whose neighbours support another label, the most certain first, [suspects] each.

    `positions`: index of the row. `labels`: the label that the neighbours support. `scores`: summed similarity to
    neighbours of that label, minus summed similarity to neighbours of the row's own label, divided by summed similarity
    to all neighbours; 1 if all neighbours have the other label. `found`: the neighbours of all rows.
    """

    positions: Tensor
    labels: Tensor
    scores: Tensor
    found: Neighbors


def suspects(embeddings: Embeddings, labels: Labels, ids: Ids, k: int = NEIGHBORS) -> Suspects:
    """Compare the label of each row with the labels of its `k` nearest other rows; `ids`: image of each row.

    If the class of a row has fewer than `k` other rows, only that many neighbours vote, since any further neighbours
    must be of other classes.
    """
    neighbours = nearest(embeddings, embeddings, k, query_ids=ids, gallery_ids=ids)
    votes = neighbours.similarities.clamp(min=0).masked_fill(~_voting(labels, neighbours), 0)
    neighbour_labels = labels[neighbours.positions.clamp(min=0)]
    of_label = torch.stack(
        [
            (votes * (neighbour_labels == neighbour_labels[:, place, None])).sum(1)
            for place in range(neighbour_labels.shape[1])
        ],
        1,
    )
    other, place = of_label.masked_fill(neighbour_labels == labels[:, None], 0).max(1)
    own = (votes * (neighbour_labels == labels[:, None])).sum(1)
    scores = (other - own) / votes.sum(1).clamp(min=1e-6)
    order = scores.argsort(descending=True, stable=True)
    order = order[scores[order] > 0]
    return Suspects(order, neighbour_labels.gather(1, place[:, None])[order, 0], scores[order], neighbours)


def class_pairs(labels: Labels, found: Neighbors, least: float = 0.25) -> list[tuple[int, int, float]]:
    """Pairs of classes that overlap, with the smaller of their shares of neighbours that are in the other class."""
    classes, place = labels.unique(return_inverse=True)
    near = place[found.positions.clamp(min=0)]
    voting = _voting(labels, found)
    codes, counts = (place[:, None] * len(classes) + near)[voting].unique(return_counts=True)
    of_class = place.bincount(voting.sum(1), minlength=len(classes))
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


def _voting(labels: Tensor, found: Neighbors) -> Tensor:
    """Mask [rows, k] of the neighbours that vote: at most as many as the row's class has other rows."""
    _, place, counts = labels.unique(return_inverse=True, return_counts=True)
    rank = torch.arange(found.positions.shape[1], device=labels.device)
    voting: Tensor = (rank < counts[place, None] - 1) & (found.positions >= 0)
    return voting


def alike(found: Neighbors, least: float = ALIKE) -> list[tuple[int, int, float]]:
    """Pairs of a row and its nearest neighbour with a cosine of at least `least`; the most similar first."""
    first, similarity = found.positions[:, 0], found.similarities[:, 0]
    rows = (similarity >= least).nonzero()[:, 0]
    columns = (rows.tolist(), first[rows].tolist(), similarity[rows].tolist())
    pairs = {(min(row, near), max(row, near)): cosine for row, near, cosine in zip(*columns, strict=True)}
    return sorted(((one, other, cosine) for (one, other), cosine in pairs.items()), key=lambda pair: -pair[2])
