"""Tests that the memories for timing losses have the properties that they claim."""

from functools import partial
from pathlib import Path

import pytest
import torch
from benchmarks import memories

from crossbatch.data.data_set import DataSet
from crossbatch.training.run_parts import build_parts


def test_a_trained_memory_is_made_once_and_is_better_than_chance(
    characters: DataSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memories, "build_parts", partial(build_parts, loaded=characters))
    monkeypatch.setattr(memories, "TRAINED_STEPS", 20)
    monkeypatch.setattr(memories, "cache_folder", lambda: tmp_path / "cache")
    made = memories.trained(600, 64)
    assert made.rows.shape == (600, 128)
    assert len(made.anchors) == len(made.labels) == 64
    same = made.labels[:, None] == made.row_labels
    similarities = made.anchors @ made.rows.T
    assert 1 - similarities[same].mean() < 0.7 * (1 - similarities[~same].mean())
    monkeypatch.setattr(memories, "_train", None)
    assert all(torch.equal(one, two) for one, two in zip(made, memories.trained(600, 64), strict=True))


def test_the_asked_share_of_negatives_is_near() -> None:
    made = memories.near(5000, 128, 64, 0.05)
    assert 0.03 < float((made.anchors @ made.rows.T > 0.5).float().mean()) < 0.07
