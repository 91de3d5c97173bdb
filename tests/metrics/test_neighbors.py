"""Tests that the nearest rows equal the start of a full sort, chunk by chunk."""

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch.nn.functional import normalize
from torch.testing import assert_close

from crossbatch.errors import SettingError, ShapeError
from crossbatch.metrics import nearest, neighbors

CHUNKS = [(1, 1), (2, 3), (4, 7), (512, 8192)]
EXACT = torch.cat([torch.eye(4), -torch.eye(4), torch.cartesian_prod(*[torch.tensor([0.5, -0.5])] * 4)])


def by_sorting(query: torch.Tensor, gallery: torch.Tensor, k: int, own: list[int], theirs: list[int]) -> list:
    """The k first (similarity, position) of each query: the most similar first, and equals in order of position."""
    found = []
    for row, image in zip((query @ gallery.T).tolist(), own, strict=True):
        kept = [(-s, position) for position, s in enumerate(row) if not theirs[position] == image >= 0]
        first = [(-s, position) for s, position in sorted(kept)[:k]]
        found.append(first + [(-torch.inf, -1)] * (k - len(first)))
    return found


@given(
    chunks=st.sampled_from(CHUNKS),
    queries=st.lists(st.tuples(st.integers(0, 23), st.integers(-1, 5)), max_size=6),
    rows=st.lists(st.tuples(st.integers(0, 23), st.integers(-1, 5)), max_size=25),
    k=st.integers(1, 12),
    known=st.booleans(),
)
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_equals_a_full_sort_with_ties_by_position(
    chunks: tuple[int, int], queries: list[tuple[int, int]], rows: list[tuple[int, int]], k: int, known: bool
) -> None:
    query, gallery = (EXACT[torch.tensor([v for v, _ in side], dtype=torch.int64)] for side in (queries, rows))
    own, theirs = ([image if known else -1 for _, image in side] for side in (queries, rows))
    ids = {"query_ids": torch.tensor(own).long(), "gallery_ids": torch.tensor(theirs).long()} if known else {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(neighbors, "QUERY_CHUNK", chunks[0])
        patch.setattr(neighbors, "GALLERY_CHUNK", chunks[1])
        found = nearest(query, gallery, k, **ids)
    expected = by_sorting(query, gallery, k, own, theirs)
    assert found.positions.shape == found.similarities.shape == (len(queries), k)
    pairs = zip(found.similarities.tolist(), found.positions.tolist(), strict=True)
    assert [list(zip(*pair, strict=True)) for pair in pairs] == expected


@pytest.mark.parametrize("chunks", CHUNKS)
def test_equals_a_full_sort_on_a_cloud(chunks: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbors, "QUERY_CHUNK", chunks[0])
    monkeypatch.setattr(neighbors, "GALLERY_CHUNK", chunks[1])
    query, gallery = (normalize(torch.randn(n, 6, dtype=torch.float64)) for n in (9, 50))
    found = nearest(query, gallery, 5)
    values, positions = (query @ gallery.T).sort(dim=1, descending=True)
    assert_close(found.similarities, values[:, :5])
    assert torch.equal(found.positions, positions[:, :5])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_of_many_equals_the_earliest_come_first(dtype: torch.dtype) -> None:
    """One chunk has more than k equal similarities. topk alone would take any of them."""
    gallery = torch.eye(4, dtype=dtype)[torch.tensor([0, 1, 2, 3]).repeat(1000)]
    found = nearest(gallery[:4], gallery, 3)
    assert found.positions.tolist() == [[i, i + 4, i + 8] for i in range(4)]


def test_where_there_are_fewer_the_position_is_minus_1() -> None:
    found = nearest(torch.eye(3), torch.eye(3)[:2], 3)
    assert found.positions.tolist() == [[0, 1, -1], [1, 0, -1], [0, 1, -1]]
    assert found.similarities[:, 2].tolist() == [-torch.inf] * 3
    empty = nearest(torch.eye(3), torch.empty(0, 3), 2)
    assert empty.positions.tolist() == [[-1, -1]] * 3
    assert nearest(torch.empty(0, 3), torch.eye(3), 2).positions.shape == (0, 2)


def test_the_query_itself_is_left_out_wherever_it_stands() -> None:
    gallery = torch.eye(3)[[2, 1, 0, 0]]
    found = nearest(torch.eye(3)[:1], gallery, 1, query_ids=torch.tensor([7]), gallery_ids=torch.tensor([1, 2, 7, 3]))
    assert found.positions.tolist() == [[3]]


def test_never_holds_more_than_one_chunk_of_the_matrix(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbors, "QUERY_CHUNK", 16)
    monkeypatch.setattr(neighbors, "GALLERY_CHUNK", 32)
    largest = 0

    class Spy(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            nonlocal largest
            result = func(*args, **(kwargs or {}))
            if isinstance(result, torch.Tensor) and result._base is None:
                largest = max(largest, result.numel())
            return result

    query, gallery = torch.randn(60, 2), torch.randn(100, 2)
    with Spy():
        nearest(query, gallery, 2)
    assert largest == 16 * 32


@pytest.mark.usefixtures("as_users_run_it")
def test_refuses_what_does_not_fit() -> None:
    with pytest.raises(SettingError, match="k of at least 1, got 0"):
        nearest(torch.eye(3), torch.eye(3), 0)
    with pytest.raises(ShapeError, match="go together"):
        nearest(torch.eye(3), torch.eye(3), 1, query_ids=torch.arange(3))
