"""Tests that planted wrong labels are found first, and that duplicate classes and copies are paired."""

import pytest
import torch
from torch.nn.functional import normalize

from crossbatch.metrics import Neighbors
from crossbatch.metrics.suspects import alike, class_pairs, suspects

CLASSES, EACH = 30, 12


def planted() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, set[int]]:
    """Clusters with one label each, except for twenty rows with a wrong label."""
    draw = torch.Generator().manual_seed(0)
    centres = normalize(torch.randn(CLASSES, 32, generator=draw))
    labels = torch.arange(CLASSES).repeat_interleave(EACH)
    embeddings = centres[labels] + 0.05 * torch.randn(len(labels), 32, generator=draw)
    wrong = torch.randperm(len(labels), generator=draw)[:20]
    given = labels.clone()
    given[wrong] = (labels[wrong] + 7) % CLASSES
    return embeddings, labels, given, set(wrong.tolist())


def test_planted_labels_come_first_with_what_the_neighbours_say() -> None:
    embeddings, labels, given, wrong = planted()
    found = suspects(embeddings, given, torch.arange(len(given)))
    assert set(found.positions[:20].tolist()) == wrong
    assert torch.equal(found.labels[:20], labels[found.positions[:20]])
    assert (found.scores[:20] > 0.3).all()
    assert (found.scores.diff() <= 0).all()


def test_nothing_is_suspicious_where_labels_are_right() -> None:
    embeddings, labels, _, _ = planted()
    assert len(suspects(embeddings, labels, torch.arange(len(labels))).positions) == 0


def test_classes_that_are_one_and_copies_are_paired() -> None:
    embeddings, labels, _, _ = planted()
    split = labels.clone()
    split[(labels == 3) & (torch.arange(len(labels)) % 2 == 0)] = CLASSES  # class 3 gets two labels
    found = suspects(embeddings, split, torch.arange(len(labels))).found
    ((one, other, share),) = class_pairs(split, found)
    assert (one, other) == (3, CLASSES)
    assert 0.3 < share < 0.8
    embeddings[5] = embeddings[100]
    copies = alike(suspects(embeddings, labels, torch.arange(len(labels))).found)
    assert [pair[:2] for pair in copies if pair[2] > 0.9999] == [(5, 100)]


def test_classes_overlap_by_the_lesser_of_their_shares() -> None:
    """All neighbours of class 1 are in class 0, but only one in twelve of the neighbours of class 0 is in class 1."""
    labels = torch.tensor([0, 0, 0, 0, 1, 1])
    positions = torch.tensor([[1, 2, 3], [0, 2, 3], [0, 1, 3], [4, 0, 1], [0, 1, 2], [3, 1, 2]])
    found = Neighbors(torch.ones(6, 3), positions)
    assert class_pairs(labels, found, least=0.05) == [(0, 1, pytest.approx(1 / 12))]
    assert class_pairs(labels, found) == []


def test_a_neighbour_that_points_away_has_no_say() -> None:
    """The row's own class is on the opposite side, so the weak vote for another label is the only one: a score of 1."""
    embeddings = torch.tensor([[1.0, 0.0], [-1.0, 0.05], [-1.0, -0.05], [0.1, 1.0]])
    found = suspects(embeddings, torch.tensor([0, 0, 0, 1]), torch.arange(4))
    assert (found.positions.tolist(), found.labels.tolist()) == ([0], [1])
    assert found.scores.tolist() == pytest.approx([1.0])


def test_a_class_smaller_than_the_neighbours_asked_is_not_suspicious() -> None:
    """A class of two has only one row that can be among the eight neighbours of the other one."""
    labels = torch.cat(
        [torch.arange(5).repeat_interleave(2), 5 + torch.arange(5).repeat_interleave(12), torch.tensor([10])]
    )
    embeddings = torch.eye(16)[labels] + 0.01 * torch.randn(len(labels), 16)
    found = suspects(embeddings, labels, torch.arange(len(labels)))
    assert not len(found.positions)
    assert class_pairs(labels, found.found) == []
    labels[0] = 1  # a row of a class of two gets the label of another class of two
    assert 0 in suspects(embeddings, labels, torch.arange(len(labels))).positions[:1]


def test_few_rows_are_no_problem() -> None:
    rows, labels, ids = torch.randn(3, 8), torch.tensor([0, 0, 1]), torch.arange(3)
    found = suspects(rows, labels, ids)
    assert len(found.positions) <= 3
    assert all(share >= 0.25 for _, _, share in class_pairs(labels, found.found))
    assert len(alike(found.found, -1.0)) <= 3
