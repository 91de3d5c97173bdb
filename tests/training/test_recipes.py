"""Tests that every recipe of the paper parses, and trains some steps on a small tree in the official layout."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from releases import RELEASES
from rich.console import Console

from crossbatch import runs
from crossbatch.commands.options import RECIPES, parse, recipes
from crossbatch.cross_batch import CrossBatchLoss
from crossbatch.data.split import Split
from crossbatch.training.run_parts import build_parts
from crossbatch.training.settings import BatchSettings, LoopSettings, Settings
from crossbatch.training.train import fit

PAPER = [name for name in recipes() if not name.startswith("glyphs")]


def settings(recipe: str) -> Settings:
    chosen: Settings = parse("train", ["--recipe", recipe])[0]["settings"]
    return chosen


def test_there_is_one_for_each_row_of_the_paper() -> None:
    backbones = ("googlenet", "bn_inception", "resnet50")
    rows = {f"{data}-{backbone}" for data in ("sop", "in_shop", "vehicle_id") for backbone in backbones}
    rows |= {"cub-bn_inception", "cars-bn_inception"}
    assert set(PAPER) == rows | {"sop-resnet50-released"}


@pytest.mark.parametrize("recipe", PAPER)
def test_says_where_it_stands_and_what_it_is(recipe: str) -> None:
    text = (RECIPES / f"{recipe}.yaml").read_text()
    assert "Not reproduced here: no data." in text
    assert any(word in text for word in ("seen", "recalled, unverified", "not at hand"))
    chosen = settings(recipe)
    assert chosen.data == recipe.split("-", maxsplit=1)[0]
    assert not chosen.recommended
    assert not chosen.memory.earlier_only
    assert chosen.refit
    assert chosen.model.backbone.split(".")[0] == recipe.split("-")[1]
    assert chosen.batch == BatchSettings(16, 4)
    assert chosen.optim.weight_decay == 5e-4


# Each kind of network and each data set once. `make test-long` also trains the others.
SOME = ("sop-resnet50-released", "in_shop-googlenet", "vehicle_id-resnet50", "cub-bn_inception", "cars-bn_inception")


@pytest.mark.parametrize(
    "recipe", [name if name in SOME else pytest.param(name, marks=pytest.mark.long) for name in PAPER]
)
def test_trains_some_steps(recipe: str, tmp_path: Path, console: Console) -> None:
    """Images and batch are small, and no pretrained weights are used. The other options come from the recipe."""
    chosen = settings(recipe)
    root = RELEASES[chosen.data](tmp_path / "release")
    small = replace(
        chosen,
        root=root,
        split=Split(complete=False),
        batch=BatchSettings(2, 2),
        memory=replace(chosen.memory, start=1, size=chosen.memory.size and 8),
        model=replace(chosen.model, pretrained=False, image_size=32),
        optim=replace(chosen.optim, steps=3, milestones=[1, 2]),
        loop=LoopSettings(accelerator="cpu", workers=0, check_every=3),  # each validation writes a checkpoint
    )
    parts = build_parts(small)
    assert len(parts.data.train) == 24  # all training classes
    outcome = fit(parts, tmp_path / "run", console)
    assert outcome.summary["steps"] == 3
    assert outcome.summary["best_validation_R@1"] is None
    assert runs.has_checkpoint(tmp_path / "run")
    assert isinstance(parts.learner.loss_fn, CrossBatchLoss) == (chosen.memory.size != 0)
    assert all(value.isfinite().all() for value in parts.learner.embedder.state_dict().values())
    if parts.memory is not None:
        rows = 8 if chosen.memory.size else 24
        assert len(parts.memory) == rows
        assert torch.allclose(parts.memory.embeddings.norm(dim=1), torch.ones(rows))
