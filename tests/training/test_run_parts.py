"""Tests of the parts of a run: what cannot train is refused before a folder is created."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from crossbatch.data.split import Split
from crossbatch.errors import SettingError
from crossbatch.training.run_parts import build_parts
from crossbatch.training.settings import (
    BatchSettings,
    LoopSettings,
    LossSettings,
    MemorySettings,
    ModelSettings,
    Settings,
)

Quick = Callable[..., Settings]


def test_batch_norm_and_pieces_of_a_batch_are_refused_at_once(quick: Quick) -> None:
    with pytest.raises(SettingError, match=r"BatchNorm layers, the first is .*, would see the statistics of 4 images"):
        build_parts(quick(loop=LoopSettings(embed_at_once=4, accelerator="cpu")))
    build_parts(quick(loop=LoopSettings(embed_at_once=6, accelerator="cpu")))  # a piece is the whole batch


@pytest.mark.parametrize(
    ("processes", "freeze_bn", "told"),
    [
        (7, True, "has 0 for some of 7 processes: raise"),
        (4, False, "has 1 for some of 4 processes, and BatchNorm needs"),
    ],
)
def test_more_processes_than_a_batch_feeds_are_refused(
    processes: int, freeze_bn: bool, told: str, quick: Quick, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", str(processes))
    with pytest.raises(SettingError, match=f"a batch of 6 images {told}"):
        build_parts(quick(model=ModelSettings(dim=8, image_size=16, pooling="avg", freeze_bn=freeze_bn)))


@pytest.mark.parametrize("size", [0, None])
def test_a_loss_that_cannot_be_called_is_refused_at_once(size: int | None, quick: Quick) -> None:
    settings = quick(loss=LossSettings("torch.nn.CrossEntropyLoss"), memory=MemorySettings(size=size))
    with pytest.raises(SettingError, match="CrossEntropyLoss takes no ref_emb, so it cannot compare"):
        build_parts(settings)


def test_training_gives_files_with_the_same_bytes_one_id(tmp_path: Path, quick: Quick) -> None:
    draw = np.random.default_rng(0)
    for label in "abcd":
        (tmp_path / label).mkdir()
        for number in range(3):
            Image.fromarray(draw.integers(0, 256, (8, 8, 3), np.uint8)).save(tmp_path / label / f"{number}.png")
    shutil.copy(tmp_path / "a/0.png", tmp_path / "b/copy.png")
    split = Split(validation_share=0, test_share=0)
    settings = quick(data="folder", root=tmp_path, split=split, batch=BatchSettings(4, 3))
    parts = build_parts(replace(settings, loop=replace(settings.loop, accelerator="cpu")))
    names = [parts.data.images.name(image) for image in range(13)]
    seen = set()
    for step in range(10):
        _, labels, ids = parts.feed.training_batches()[step]
        seen |= {(names[image], parts.data.class_names[label]) for image, label in zip(ids, labels, strict=True)}
    assert {("a/0.png", "a"), ("a/0.png", "b")} <= seen
    assert not any("copy" in name for name, _ in seen)
    assert len(seen) == 13
    filled = torch.cat([ids for _, _, ids in DataLoader(parts.drawn(13), batch_size=None)])
    assert sorted(names[image] for image in filled) == sorted([*{name for name, _ in seen}, "a/0.png"])
    held = torch.tensor([names.index("a/0.png")])
    assert len(parts.drawn(13, held).part) == 11
