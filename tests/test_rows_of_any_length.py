"""Tests that public functions take embeddings of any length, and that metrics refuse rows without a direction."""

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize
from torch.testing import assert_close

from crossbatch import CrossBatchLoss, CrossBatchMemory
from crossbatch.errors import DivergedError
from crossbatch.losses import LOSSES
from crossbatch.metrics import evaluate, nearest
from crossbatch.metrics.drift import Sample, class_spread, squared_distance

NORMS = (1e-3, 1.0, 57.0, 1e4)
LABELS = torch.arange(40) // 4
at_any_length = pytest.mark.parametrize("norm", NORMS)


def rows(norm: float, seed: int = 0) -> Tensor:
    """Rows of about this length, all different."""
    draw = torch.Generator().manual_seed(seed)
    lengths = norm * (0.5 + torch.rand(len(LABELS), 1, generator=draw))
    return lengths * normalize(torch.randn(len(LABELS), 16, generator=draw))


@at_any_length
def test_metrics_and_neighbours_and_drift(norm: float) -> None:
    given, other = rows(norm), rows(norm, 1)
    plain, plain_other = normalize(given), normalize(other)
    for ours, theirs in ((evaluate(given, LABELS), evaluate(plain, LABELS)),):
        assert ours.summary() == pytest.approx(theirs.summary())
    gallery = {"gallery": other, "gallery_labels": LABELS}
    unit = {"gallery": plain_other, "gallery_labels": LABELS}
    assert evaluate(given, LABELS, **gallery).summary() == pytest.approx(evaluate(plain, LABELS, **unit).summary())
    found = nearest(given, other, 5)
    assert torch.equal(found.positions, nearest(plain, plain_other, 5).positions)
    assert_close(found.similarities, nearest(plain, plain_other, 5).similarities)
    assert_close(squared_distance(given, other), (plain - plain_other).square().sum(1))
    assert class_spread(given, LABELS) == pytest.approx(class_spread(plain, LABELS))
    sample = Sample()
    sample.add(0, given)
    assert sample.add(1, other)[0][0].distance == pytest.approx(float((plain - plain_other).square().sum(1).mean()))


@at_any_length
@pytest.mark.parametrize("name", LOSSES)
def test_losses_and_the_memory(norm: float, name: str) -> None:
    given, other = rows(norm), rows(norm, 1)
    plain, plain_other = normalize(given), normalize(other)
    assert_close(LOSSES[name]()(given, LABELS), LOSSES[name]()(plain, LABELS))
    ours = LOSSES[name]()(given, LABELS, ref_emb=other, ref_labels=LABELS)
    assert_close(ours, LOSSES[name]()(plain, LABELS, ref_emb=plain_other, ref_labels=LABELS))
    values = []
    for batches in ((given, other), (plain, plain_other)):
        memory = CrossBatchMemory(64, 16)
        loss_fn = CrossBatchLoss(LOSSES[name](), memory)
        values.append([loss_fn(batch, LABELS).detach() for batch in batches] + [memory.embeddings])
    for one, two in zip(*values, strict=True):
        assert_close(one, two)


def test_rows_that_are_not_unit_score_what_brute_force_says() -> None:
    embeddings, labels = 5 * torch.randn(2000, 128), torch.arange(2000) // 4
    similarities = normalize(embeddings) @ normalize(embeddings).T
    found = similarities.fill_diagonal_(-2).argmax(1)
    expected = float((labels[found] == labels).float().mean())
    assert evaluate(embeddings, labels).recall[1] == pytest.approx(expected)
    assert evaluate(torch.ones(40, 8), LABELS).recall[1] == 0


@pytest.mark.parametrize("bad", [0.0, float("nan"), float("inf"), float("-inf")])
def test_a_row_without_a_direction_is_refused_by_its_place(bad: float) -> None:
    embeddings = rows(1.0)
    embeddings[7] = bad
    told = "1 of the 40 {} are zero or not finite and cannot be ranked, the first is row 7"
    with pytest.raises(DivergedError, match=told.format("queries")):
        evaluate(embeddings, LABELS)
    with pytest.raises(DivergedError, match=told.format("gallery rows")):
        evaluate(rows(1.0), LABELS, gallery=embeddings, gallery_labels=LABELS)
    with pytest.raises(DivergedError, match=told.format("queries")):
        nearest(embeddings, rows(1.0), 3)
    with pytest.raises(DivergedError, match=told.format("gallery rows")):
        nearest(rows(1.0), embeddings, 3)
