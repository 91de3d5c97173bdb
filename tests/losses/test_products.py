"""Tests that products and reductions are exact for any layout of a block, and that its width suits the caches."""

from pathlib import Path

import pytest
import torch

from crossbatch.losses.engine import products
from crossbatch.losses.engine.products import pair_max, pair_sum, product, weighted_rows


def _caches(folder: Path, sizes: dict[int, str]) -> Path:
    for level, size in sizes.items():
        (folder / f"index{level}").mkdir()
        (folder / f"index{level}" / "level").write_text(f"{level}\n")
        (folder / f"index{level}" / "size").write_text(size)
    return folder


def test_the_second_level_is_read(tmp_path: Path) -> None:
    assert products.core_cache(_caches(tmp_path, {1: "48K\n", 2: "2048K\n", 3: "491520K\n"})) == 2**21


@pytest.mark.parametrize("sizes", [{}, {1: "48K\n"}, {2: "unknown\n"}])
def test_a_system_that_does_not_tell_has_the_usual(sizes: dict[int, str], tmp_path: Path) -> None:
    assert products.core_cache(_caches(tmp_path, sizes)) == products.ASSUMED


def test_a_block_fits_the_caches_of_the_threads_within_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    anchors = torch.zeros(64, 128)

    def columns(size: int, threads: int) -> int:
        monkeypatch.setattr(products, "core_cache", lambda: size)
        monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
        return products.columns_at_once(anchors)

    assert columns(2**21, 2) == 2**20 // 64
    assert columns(2**19, 1) == products.FEWEST // 64
    assert columns(2**21, 64) == products.MOST // 64


@pytest.mark.parametrize("columns", [1, 7, 64, 101])
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_columns_are_reduced_alike_row_by_row_and_column_by_column(
    columns: int, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    pairs = torch.randn(columns, 5, dtype=torch.float64).T
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    torch.testing.assert_close(pair_sum(pairs), pairs.contiguous().sum(1))
    assert pair_max(pairs).equal(pairs.contiguous().amax(1))
    rows = torch.randn(columns, 3, dtype=torch.float64)
    torch.testing.assert_close(weighted_rows(pairs, rows), pairs.contiguous() @ rows)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_a_product_is_written_where_it_should_be(dtype: torch.dtype) -> None:
    anchors, rows, into = torch.eye(3, 4, dtype=dtype), torch.randn(5, 4).to(dtype), torch.empty(20, dtype=dtype)
    found = product(anchors, rows, into)
    assert found.data_ptr() == into.data_ptr()
    assert found.equal(rows.T[:3])
