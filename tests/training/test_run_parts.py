"""Tests of the parts of a run: what cannot train is refused before a folder is created."""

from collections.abc import Callable

import pytest

from crossbatch.errors import SettingError
from crossbatch.training.run_parts import build_parts
from crossbatch.training.settings import LoopSettings, LossSettings, MemorySettings, Settings

Quick = Callable[..., Settings]


def test_batch_norm_and_pieces_of_a_batch_are_refused_at_once(quick: Quick) -> None:
    with pytest.raises(SettingError, match=r"BatchNorm layers, the first is .*, would see the statistics of 4 images"):
        build_parts(quick(loop=LoopSettings(embed_at_once=4, accelerator="cpu")))
    build_parts(quick(loop=LoopSettings(embed_at_once=6, accelerator="cpu")))  # a piece is the whole batch


@pytest.mark.parametrize("size", [0, None])
def test_a_loss_that_cannot_be_called_is_refused_at_once(size: int | None, quick: Quick) -> None:
    settings = quick(loss=LossSettings("torch.nn.CrossEntropyLoss"), memory=MemorySettings(size=size))
    with pytest.raises(SettingError, match="CrossEntropyLoss takes no ref_emb, so it cannot compare"):
        build_parts(settings)
