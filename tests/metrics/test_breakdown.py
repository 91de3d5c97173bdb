"""Tests that results by class and the order of the worst queries follow from the values of each query."""

import pytest
import torch
from torch.nn.functional import normalize

from crossbatch.metrics import Retrieval, by_class, evaluate, worst_first


def test_classes_are_means_over_their_queries_and_the_worst_comes_first() -> None:
    labels, ids = torch.randint(2**40, 2**40 + 6, (80,)), torch.arange(80)
    rows = normalize(torch.randn(80, 4) + torch.eye(4)[labels % 4])
    measured = evaluate(rows, labels, ids, rows, labels, ids)
    results = by_class(measured, labels)
    assert {result.label for result in results} == set(labels.tolist())
    assert [r.recall_at_1 for r in results] == sorted(r.recall_at_1 for r in results)
    assert 0 < results[0].recall_at_1 < results[-1].recall_at_1
    for result in results:
        mine = (labels == result.label).nonzero()[:, 0]
        alone = evaluate(rows[mine], labels[mine], ids[mine], rows, labels, ids)
        assert result[1:] == pytest.approx((len(mine), alone.recall[1], alone.r_precision, alone.map_at_r))


def test_the_worst_query_is_the_one_whose_first_answer_ranks_lowest() -> None:
    rows = normalize(torch.tensor([[1.0, 0.0], [0.9, 0.1], [0.8, 0.3], [0.0, 1.0], [0.7, 0.4]]))
    labels, ids = torch.tensor([0, 0, 1, 1, 2]), torch.arange(5)
    measured = evaluate(rows, labels, ids, rows, labels, ids)
    order = worst_first(measured)
    ranks = dict(zip(measured.query_positions.tolist(), measured.best_rank.tolist(), strict=True))
    assert ranks == {0: 1, 1: 1, 2: 4, 3: 2}
    assert measured.query_positions[order].tolist() == [2, 3, 0, 1]


def test_of_queries_whose_first_answers_rank_alike_the_one_that_finds_less_is_worse() -> None:
    ranks, share = torch.tensor([1, 1, 2, 1]), torch.tensor([0.9, 0.4, 0.5, 0.4])
    measured = Retrieval(torch.arange(4), ranks, precision=share, average_precision=share, found={}, left_out=0)
    assert worst_first(measured).tolist() == [2, 1, 3, 0]
