"""Tests that the metrics equal their definitions, written as loops, and those of another library that it shares."""

import warnings

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pytorch_metric_learning.distances import CosineSimilarity
from pytorch_metric_learning.utils.accuracy_calculator import AccuracyCalculator
from pytorch_metric_learning.utils.inference import CustomKNN
from torch.nn.functional import normalize
from torch.testing import assert_close

from crossbatch.errors import DivergedError, SettingError, ShapeError
from crossbatch.metrics import Retrieval, effective_dimensions, evaluate, nearest, retrieval

KS = (1, 2, 3, 8)
CHUNKS = [(1, 1), (2, 3), (5, 4), (512, 8192)]
# Products of these rows are exact in float32, and many are equal.
EXACT = torch.cat([torch.eye(4), -torch.eye(4), torch.cartesian_prod(*[torch.tensor([0.5, -0.5])] * 4)])
Rows = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


def both(rows: Rows) -> Retrieval:
    return evaluate(*rows, *rows, ks=KS)


def by_definition(query: Rows, gallery: Rows) -> dict[int, tuple[list[int], float, float]]:
    """For each query with a relevant row: the ranks of all relevant rows, R-precision, and MAP@R."""
    found = {}
    for position, (vector, label, image) in enumerate(zip(*(column.tolist() for column in query), strict=True)):
        relevant, others = [], []
        for row, row_label, row_image in zip(*(column.tolist() for column in gallery), strict=True):
            if row_image == image >= 0:
                continue
            similarity = sum(a * b for a, b in zip(vector, row, strict=True))
            (relevant if row_label == label else others).append(similarity)
        if not relevant:
            continue
        relevant.sort(reverse=True)
        ranks = [
            number + sum(other >= similarity - retrieval.TIE for other in others)
            for number, similarity in enumerate(relevant, 1)
        ]
        r = len(relevant)
        precision = [sum(rank <= i for rank in ranks) / i for i in range(1, r + 1)]
        found[position] = ranks, precision[-1], sum(precision[i - 1] for i in range(1, r + 1) if i in ranks) / r
    return found


def assert_equals_definition(query: Rows, gallery: Rows) -> None:
    expected = by_definition(query, gallery)
    if not expected:
        with pytest.raises(ShapeError, match="no query has another image of its class in the gallery"):
            evaluate(*query, *gallery, ks=KS)
        return
    measured = evaluate(*query, *gallery, ks=KS)
    assert measured.queries == len(expected)
    assert measured.left_out == len(query[0]) - len(expected)
    assert dict(zip(measured.query_positions.tolist(), measured.best_rank.tolist(), strict=True)) == {
        position: ranks[0] for position, (ranks, _, _) in expected.items()
    }
    ranks, precision, mean_precision = zip(*expected.values(), strict=True)
    n = len(expected)
    mean = {f"R@{k}": sum(one[0] <= k for one in ranks) / n for k in KS}
    mean |= {"R-precision": sum(precision) / n, "MAP@R": sum(mean_precision) / n}
    mean |= {f"IR-recall@{k}": sum(sum(rank <= k for rank in one) / len(one) for one in ranks) / n for k in KS}
    assert measured.summary() == pytest.approx(mean, abs=1e-6)


@st.composite
def ties(draw: st.DrawFn) -> tuple[Rows, Rows, tuple[int, int]]:
    """Rows with exact ties, labels that are equal in float32 or float64, and ids that can be unknown or shared."""
    labels = st.sampled_from([0, 1, 2**24, 2**24 + 1, 2**60, 2**60 + 1, -5])

    def side() -> Rows:
        n = draw(st.integers(0, 12))
        vectors = draw(st.lists(st.integers(0, len(EXACT) - 1), min_size=n, max_size=n))
        columns = [draw(st.lists(values, min_size=n, max_size=n)) for values in (labels, st.integers(-1, 8))]
        return (EXACT[torch.tensor(vectors, dtype=torch.int64)], *(torch.tensor(c, dtype=torch.int64) for c in columns))

    query = side()
    gallery = query if draw(st.booleans()) else side()
    return query, gallery, draw(st.sampled_from(CHUNKS))


@given(ties())
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_equals_the_definition_with_exact_ties(case: tuple[Rows, Rows, tuple[int, int]]) -> None:
    query, gallery, chunks = case
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(retrieval, "QUERY_CHUNK", chunks[0])
        patch.setattr(retrieval, "GALLERY_CHUNK", chunks[1])
        assert_equals_definition(query, gallery)


@pytest.mark.parametrize("chunks", CHUNKS)
@pytest.mark.parametrize("classes", [1, 3, 20])
def test_equals_the_definition_on_a_cloud(
    chunks: tuple[int, int], classes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A few large classes or many small ones. Some queries are also in the gallery, at another position."""
    monkeypatch.setattr(retrieval, "QUERY_CHUNK", chunks[0])
    monkeypatch.setattr(retrieval, "GALLERY_CHUNK", chunks[1])
    rows = normalize(torch.randn(40, 5, dtype=torch.float64))
    labels, ids = torch.randint(classes, (40,)), torch.arange(40)
    order = torch.randperm(40)
    query = rows[:15], labels[:15], ids[:15]
    assert_equals_definition(query, (rows[order], labels[order], ids[order]))
    assert_equals_definition(query, (rows[15:], labels[15:], ids[15:]))
    assert_equals_definition((rows, labels, ids), (rows, labels, ids))


@pytest.mark.parametrize("same", [True, False], ids=["query = gallery", "query ≠ gallery"])
def test_equals_pytorch_metric_learning(same: bool) -> None:
    labels = torch.cat([torch.randint(30, (200,)), torch.zeros(100).long()])
    rows = normalize(torch.randn(30, 8)[labels] + 0.7 * torch.randn(300, 8))
    ids = torch.arange(300)
    query, gallery = (slice(None), slice(None)) if same else (slice(0, 80), slice(80, None))
    theirs = AccuracyCalculator(
        include=("precision_at_1", "r_precision", "mean_average_precision_at_r"),
        k="max_bin_count",
        device=torch.device("cpu"),
        knn_func=CustomKNN(CosineSimilarity()),
    ).get_accuracy(rows[query], labels[query], rows[gallery], labels[gallery], ref_includes_query=same)
    ours = evaluate(rows[query], labels[query], ids[query], rows[gallery], labels[gallery], ids[gallery])
    assert ours.recall[1] == pytest.approx(theirs["precision_at_1"], abs=1e-6)
    assert ours.r_precision == pytest.approx(theirs["r_precision"], abs=1e-6)
    assert ours.map_at_r == pytest.approx(theirs["mean_average_precision_at_r"], abs=1e-6)
    assert 0.05 < ours.map_at_r < 0.95


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_collapsed_model_scores_0(dtype: torch.dtype) -> None:
    point = normalize(torch.randn(1, 128))
    rows = normalize(point + 1e-9 * torch.randn(40, 128)).to(dtype)
    labels, ids = torch.arange(40) % 4, torch.arange(40)
    measured = evaluate(rows, labels, ids, rows, labels, ids)
    assert set(measured.summary().values()) == {0.0}


def test_classes_apart_score_1() -> None:
    rows, labels, ids = torch.eye(4).repeat(5, 1), torch.arange(4).repeat(5), torch.arange(20)
    summary = evaluate(rows, labels, ids, rows, labels, ids).summary()
    found = {f"IR-recall@{k}": min(k / 4, 1) for k in (1, 2, 4, 8)}
    assert summary == dict.fromkeys(["R@1", "R@2", "R@4", "R@8", "R-precision", "MAP@R"], 1.0) | found


def test_a_row_is_itself_by_its_id_and_not_by_its_place() -> None:
    """The query's own row is at another position in the gallery. A copy with another id is found."""
    query = torch.eye(2)[:1], torch.tensor([7]), torch.tensor([3])
    rows = torch.tensor([[0.0, 1.0], [1.0, 0.0]])
    labels = torch.tensor([7, 7])
    assert evaluate(*query, rows, labels, torch.tensor([9, 3])).best_rank.tolist() == [1]
    with pytest.raises(ShapeError, match="no query has another image"):
        evaluate(*query, rows[1:], labels[1:], torch.tensor([3]))
    assert evaluate(*query, rows[1:], labels[1:], torch.tensor([4])).recall[1] == 1


def test_unknown_ids_are_no_image() -> None:
    unknown = torch.tensor([-1])
    measured = evaluate(torch.eye(2)[:1], torch.tensor([0]), unknown, torch.eye(2)[:1], torch.tensor([0]), unknown)
    assert (measured.queries, measured.recall[1]) == (1, 1.0)


def test_queries_without_a_positive_are_left_out_and_counted() -> None:
    labels = torch.tensor([5, 0, 6, 0, 7])
    measured = both((EXACT[:5], labels, torch.arange(5)))
    assert (measured.queries, measured.left_out) == (2, 3)
    assert sorted(measured.query_positions.tolist()) == [1, 3]


@pytest.mark.parametrize("low", [2**24, 2**53, 2**60])
def test_labels_are_compared_as_int64(low: int) -> None:
    labels = torch.tensor([low, low + 1]).repeat(10)
    expected = both((EXACT[:20], labels - low, torch.arange(20)))
    assert_close(both((EXACT[:20], labels, torch.arange(20))).summary(), expected.summary())


def test_the_order_of_rows_is_no_part_of_the_result() -> None:
    rows, labels, ids = normalize(torch.randn(50, 6, dtype=torch.float64)), torch.arange(50) % 7, torch.arange(50)
    order = torch.randperm(50)
    shuffled = evaluate(rows[order], labels[order], ids[order], rows, labels, ids, ks=KS)
    assert shuffled.summary() == pytest.approx(both((rows, labels, ids)).summary())


def test_never_holds_more_than_one_chunk_of_the_matrix(monkeypatch: pytest.MonkeyPatch) -> None:
    """With many relevant rows, one value for each relevant row of a chunk of queries is held in addition."""
    monkeypatch.setattr(retrieval, "QUERY_CHUNK", 8)
    monkeypatch.setattr(retrieval, "GALLERY_CHUNK", 16)
    shapes = []

    class Spy(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            result = func(*args, **(kwargs or {}))
            if func in (torch.ops.aten.mm.default, torch.ops.aten.mm.out):
                shapes.append(tuple(result.shape))
            return result

    rows, labels, ids = normalize(torch.randn(100, 4)), torch.arange(100) % 2, torch.arange(100)
    with Spy():
        both((rows, labels, ids))
    assert max(n for n, _ in shapes) == 8
    assert max(m for _, m in shapes) == 16
    assert sum(n * m for n, m in shapes) >= 100 * 100


@pytest.mark.usefixtures("as_users_run_it")
def test_refuses_what_cannot_be_measured() -> None:
    rows, labels, ids = torch.eye(3), torch.zeros(3).long(), torch.arange(3)
    with pytest.raises(SettingError, match=r"K of at least 1, got \[0\]"):
        evaluate(rows, labels, ids, rows, labels, ids, ks=[0])
    with pytest.raises(SettingError, match=r"K of at least 1, got \[\]"):
        evaluate(rows, labels, ids, rows, labels, ids, ks=[])
    with pytest.raises(ShapeError, match="3 queries need as many labels, got 2"):
        evaluate(rows, labels[:2], ids, rows, labels, ids)
    with pytest.raises(ShapeError, match="3 gallery rows need as many ids, got 1"):
        evaluate(rows, labels, ids, rows, labels, ids[:1])
    with pytest.raises(DivergedError, match="3 of the 3 queries are zero or not finite and cannot be ranked"):
        evaluate(rows * torch.nan, labels, ids, rows, labels, ids)
    with pytest.raises(ShapeError, match="nothing to measure"):
        evaluate(rows[:0], labels[:0], ids[:0], rows, labels, ids)
    with pytest.raises(ShapeError, match="nothing to measure"):
        evaluate(rows, labels, ids, rows[:0], labels[:0], ids[:0])
    with pytest.raises(ShapeError, match="query_ids and gallery_ids go together"):
        evaluate(rows, labels, ids, rows.clone(), labels)
    with pytest.raises(ShapeError, match=r"have the same length: got queries \[3, 3\] and gallery rows \[3, 2\]"):
        evaluate(rows, labels, None, rows[:, :2], labels)
    with pytest.raises(ShapeError, match=r"labels have the shape \[3\], got \[3, 1\]: call .flatten"):
        evaluate(rows, labels[:, None])
    with pytest.raises(ShapeError, match=r"labels are a tensor, got list: torch.as_tensor"):
        evaluate(rows, [0, 0, 0])  # type: ignore[arg-type]


def test_arrays_are_measured_as_tensors_are() -> None:
    rows, labels, ids = torch.randn(30, 8), torch.arange(30) % 5, torch.arange(30) % 29
    arrays = rows.numpy(), labels.numpy().astype(np.int32), ids.numpy()
    arrays[0].flags.writeable = False
    with warnings.catch_warnings(action="error"):
        assert evaluate(*arrays).summary() == evaluate(rows, labels, ids).summary()
        assert evaluate(*arrays, *arrays).summary() == evaluate(rows, labels, ids, rows, labels, ids).summary()
        found = nearest(arrays[0], arrays[0], 3, query_ids=arrays[2], gallery_ids=arrays[2])
    assert torch.equal(found.positions, nearest(rows, rows, 3, query_ids=ids, gallery_ids=ids).positions)
    assert effective_dimensions(arrays[0]) == effective_dimensions(rows)
    with pytest.raises(ShapeError, match=r"labels are a tensor, got an array of <U3: torch.from_numpy\(numpy.unique"):
        evaluate(arrays[0], np.array(["cat"] * 30))


@pytest.mark.usefixtures("as_users_run_it")
def test_what_is_no_query_or_gallery_is_refused() -> None:
    rows, labels = torch.randn(30, 8), torch.arange(30) % 5
    with pytest.raises(ShapeError, match="third argument of evaluate is query_ids: give a gallery by name"):
        evaluate(rows, labels, rows, labels)
    with pytest.raises(ShapeError, match=r"queries are dense, of float32, .* got torch.int64: call .float\(\)"):
        evaluate(rows.long(), labels)


def test_the_text_of_a_measurement_is_one_line() -> None:
    told = repr(evaluate(torch.randn(30, 8), torch.arange(30) % 5))
    assert told.startswith("Retrieval(R@1=0.")
    assert told.endswith("queries=30, left_out=0)")


def test_a_query_is_never_found_by_itself() -> None:
    rows, labels = torch.randn(30, 8), torch.arange(30) % 5
    alone = evaluate(rows, labels).summary()
    assert 0 < alone["R@1"] < 1
    assert evaluate(rows, labels, torch.full((30,), -1)).summary() == alone
    ids = torch.where(torch.arange(30) % 3 == 0, torch.arange(30) * 2**40, -1)
    assert evaluate(rows, labels, ids).summary() == alone
    twice = torch.cat([rows, rows]), labels.repeat(2)
    assert evaluate(*twice, torch.arange(30).repeat(2)).recall[1] == pytest.approx(alone["R@1"])


def test_precisions_and_gradients_do_not_matter() -> None:
    rows, labels = torch.randn(30, 8, requires_grad=True), torch.arange(30) % 5
    found = evaluate(rows[:10], labels[:10], None, rows.detach().double()[10:], labels[10:])
    assert found.summary() == evaluate(rows[:10].detach(), labels[:10], None, rows.detach()[10:], labels[10:]).summary()


def test_embeddings_and_labels_suffice() -> None:
    """Without a gallery, each row searches the others. A gallery without ids contains no image of the queries."""
    rows, labels = normalize(torch.randn(30, 8)), torch.arange(30) % 5
    ids = torch.arange(30)
    assert evaluate(rows, labels).summary() == evaluate(rows, labels, ids, rows, labels, ids).summary()
    apart = evaluate(rows[:10], labels[:10], gallery=rows[10:], gallery_labels=labels[10:])
    known = evaluate(rows[:10], labels[:10], ids[:10], rows[10:], labels[10:], ids[10:])
    assert apart.summary() == known.summary()
    with pytest.raises(ShapeError, match="gallery and gallery_labels go together"):
        evaluate(rows, labels, gallery=rows)


@pytest.mark.usefixtures("as_users_run_it")
def test_autocast_changes_no_rank() -> None:
    rows, labels = torch.randn(300, 32), torch.arange(300) // 4
    expected, near = evaluate(rows, labels), nearest(rows, rows, 5)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(evaluate(rows, labels).average_precision, expected.average_precision)
        assert torch.equal(nearest(rows, rows, 5).positions, near.positions)


@pytest.mark.usefixtures("as_users_run_it")
def test_refuses_what_is_of_another_kind() -> None:
    rows, labels = torch.eye(4), torch.arange(4) // 2
    with pytest.raises(ShapeError, match="gallery_ids go with a gallery"):
        evaluate(rows, labels, gallery_ids=labels)
    with pytest.raises(SettingError, match=r"ks is a list of K, as \[1, 10\], got 5"):
        evaluate(rows, labels, ks=5)
    with pytest.raises(ShapeError, match="queries are a tensor, got list"):
        evaluate(rows.tolist(), labels)
    with pytest.raises(ShapeError, match=r"gallery rows are \[rows, dim\], got \[4\]"):
        nearest(rows, rows[0], 1)
