"""How much is done at once goes by the caches and the threads."""

from pathlib import Path

import pytest
import torch

from crossbatch.losses import cache, chunked


def _caches(folder: Path, sizes: dict[int, str]) -> Path:
    for level, size in sizes.items():
        (folder / f"index{level}").mkdir()
        (folder / f"index{level}" / "level").write_text(f"{level}\n")
        (folder / f"index{level}" / "size").write_text(size)
    return folder


def test_the_second_level_is_read(tmp_path: Path) -> None:
    assert cache.second_level(_caches(tmp_path, {1: "48K\n", 2: "2048K\n", 3: "491520K\n"})) == 2**21


@pytest.mark.parametrize("sizes", [{}, {1: "48K\n"}, {2: "unknown\n"}])
def test_a_system_that_does_not_tell_has_the_usual(sizes: dict[int, str], tmp_path: Path) -> None:
    assert cache.second_level(_caches(tmp_path, sizes)) == cache.ASSUMED


def test_a_block_fits_the_caches_of_the_threads_within_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    anchors = torch.zeros(64, 128)

    def columns(size: int, threads: int) -> int:
        monkeypatch.setattr(cache, "second_level", lambda: size)
        monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
        return chunked.columns_at_once(anchors)

    assert columns(2**21, 2) == 2**20 // 64
    assert columns(2**19, 1) == chunked.FEWEST // 64
    assert columns(2**21, 64) == chunked.MOST // 64
