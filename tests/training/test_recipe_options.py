"""Tests of the options of a recipe: their effect on the steps, their survival of a kill, and what is refused."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import lightning as L
import pytest
import torch
from rich.console import Console
from torch.testing import assert_close

from crossbatch import runs
from crossbatch.errors import SettingError
from crossbatch.models import checkpoint
from crossbatch.training.evaluation import evaluate_run
from crossbatch.training.fill_memory import FillMemory
from crossbatch.training.plan import plan_of
from crossbatch.training.run_parts import build_parts
from crossbatch.training.settings import LoopSettings, ModelSettings, OptimSettings, Settings
from crossbatch.training.train import fit

Quick = Callable[..., Settings]
EVERYTHING = OptimSettings(steps=12, warmup=2, lr=0.003, head_lr=0.01, optimizer="adamw", ema=0.9)


def train(settings: Settings, run: Path, console: Console, **options: object) -> dict[str, torch.Tensor]:
    """Train, and return the module's state from the last checkpoint."""
    fit(build_parts(settings), run, console, **options)
    kept: dict[str, torch.Tensor] = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    return kept


def of(state: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}


def differ(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> list[str]:
    assert one.keys() == other.keys()
    return [name for name in one if not torch.equal(one[name], other[name])]


@pytest.mark.parametrize("refit", [False, True])
def test_a_run_of_every_option_is_gone_on_with_to_the_bit(
    refit: bool, quick: Quick, tmp_path: Path, console: Console
) -> None:
    """The run is killed between checkpoints and resumes from the last one, including the average of the weights."""
    settings = quick(optim=EVERYTHING, model=ModelSettings(dim=8, image_size=16, dims=[2, 8]), refit=refit)
    straight = train(settings, tmp_path / "straight", console)

    def kill(self: FillMemory, trainer: L.Trainer, *rest: object) -> None:
        if trainer.global_step == 6:
            raise SystemError("killed")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FillMemory, "on_train_batch_start", kill)
        with pytest.raises(SystemError, match="killed"):
            train(settings, tmp_path / "killed", console)
    assert differ(straight, train(settings, tmp_path / "killed", console, resume=True)) == []


def test_the_average_is_what_is_validated_and_saved_and_changes_no_step(
    quick: Quick, tmp_path: Path, console: Console
) -> None:
    """The average at the best validation is saved. Memory rows come from the trained weights, not from the average."""
    plain, optim = quick(), replace(quick().optim, ema=0.9)
    averaged = replace(plain, optim=optim)
    without, with_average = train(plain, tmp_path / "plain", console), train(averaged, tmp_path / "ema", console)
    assert differ(without, {name: value for name, value in with_average.items() if "average." not in name}) == []
    best = torch.load(tmp_path / "ema" / "checkpoints" / "best.ckpt", weights_only=True)["state_dict"]
    saved = checkpoint.load(tmp_path / "ema")[0].state_dict()
    assert differ(of(best, "average.module."), saved) == []
    assert "head.weight" in differ(of(best, "embedder."), saved)
    assert not [name for name in with_average if "average" in name and "loss" in name]
    optimizer = build_parts(averaged).learner.configure_optimizers()["optimizer"]
    learning = {id(one) for group in optimizer.param_groups for one in group["params"]}
    assert len(learning) == len(list(build_parts(plain).learner.parameters()))
    looked = evaluate_run(tmp_path / "ema", build_parts(averaged).data, "validation")
    assert looked["R@1"] == pytest.approx(runs.read_json(tmp_path / "ema" / runs.SUMMARY)["best_validation_R@1"])


def test_an_average_starts_from_the_run_it_is_told_to(quick: Quick, tmp_path: Path, console: Console) -> None:
    train(quick(steps=3), tmp_path / "first", console)
    still = quick(optim=OptimSettings(steps=1, lr=1e-12, warmup=0, ema=0.9), refit=True)
    train(still, tmp_path / "second", console, init=tmp_path / "first")
    first, second = (checkpoint.load(tmp_path / name)[0].state_dict() for name in ("first", "second"))
    assert_close(first["head.weight"], second["head.weight"])


def test_the_head_learns_at_its_own_rate(quick: Quick, tmp_path: Path, console: Console) -> None:
    optim = OptimSettings(steps=2, warmup=0, lr=1e-12, head_lr=0.1, weight_decay=0)
    before = build_parts(quick()).learner.embedder.state_dict()
    after = of(train(quick(optim=optim), tmp_path / "run", console), "embedder.")
    moved = {name: float((after[name] - before[name]).abs().max()) for name in before if name.endswith("weight")}
    assert moved.pop("head.weight") > 0.01
    assert max(moved.values()) < 1e-6


def test_adamw_takes_weights_off_where_adam_adds_to_their_gradient(quick: Quick) -> None:
    left = {}
    for name in ("adam", "adamw"):
        learner = build_parts(
            quick(optim=OptimSettings(steps=2, warmup=0, lr=0.1, optimizer=name, weight_decay=0.5))
        ).learner
        optimizer, head = learner.configure_optimizers()["optimizer"], learner.embedder.head.weight
        before = head.detach().clone()
        head.grad = torch.ones_like(before)
        optimizer.step()
        left[name] = head.detach() - before + 0.1  # without the step along the sign of the gradient
    assert_close(left["adamw"], -0.1 * 0.5 * before, rtol=0, atol=1e-6)
    assert_close(left["adam"], torch.zeros_like(before), rtol=0, atol=1e-6)


def test_an_embedding_that_may_be_cut_off_is_searched_at_each_length(
    quick: Quick, tmp_path: Path, console: Console
) -> None:
    settings = quick(model=ModelSettings(dim=8, image_size=16, dims=[2, 4, 8]))
    kept = train(settings, tmp_path / "run", console)
    assert kept["loss_fn.memory._embeddings"].shape[1] == 8  # rows have the full length
    assert checkpoint.described(tmp_path / "run").dims == [2, 4, 8]
    summary = runs.read_json(tmp_path / "run" / runs.SUMMARY)
    by_dims = summary["after_training"]["validation R@1 by dims"]
    assert list(by_dims) == ["2", "4", "8"]
    assert by_dims["8"] == summary["after_training"]["validation R@1"]
    looked = evaluate_run(tmp_path / "run", build_parts(settings).data, "validation", ks=(1,))
    assert {dims: found["R@1"] for dims, found in looked["cut"].items()} == {dims: by_dims[dims] for dims in ("2", "4")}
    assert "sup-con loss at 2, 4, 8 dimensions" in "\n".join(plan_of(build_parts(settings)))


def test_a_run_in_bfloat16_ends_with_sound_weights(quick: Quick, tmp_path: Path, console: Console) -> None:
    loop = LoopSettings(check_every=4, accelerator="cpu", workers=0, precision="bf16-mixed", channels_last=False)
    parts = build_parts(quick(loop=loop))
    assert parts.learner.embedder.backbone[0].weight.is_contiguous()
    kept = train(quick(loop=loop), tmp_path / "run", console)
    assert all(value.isfinite().all() for value in kept.values() if value.is_floating_point())
    assert "bf16-mixed" in "\n".join(plan_of(parts))


@pytest.mark.long
@pytest.mark.usefixtures("as_users_run_it")
def test_a_compiled_network_trains_as_a_plain_one(quick: Quick, tmp_path: Path, console: Console) -> None:
    """Parameters keep their names. The first steps equal those of the plain network up to rounding."""
    loop = LoopSettings(check_every=4, accelerator="cpu", workers=0)
    plain = train(quick(steps=2, loop=loop), tmp_path / "plain", console)
    compiled = train(quick(steps=2, loop=replace(loop, compile=True)), tmp_path / "compiled", console)
    assert_close(plain["embedder.head.weight"], compiled["embedder.head.weight"], rtol=1e-2, atol=1e-3)
    assert plain.keys() == compiled.keys()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": ModelSettings(dim=128, dims=[64, 32])}, r"got \[64, 32\] and 128: give \[32, 64, 128\]"),
        ({"model": ModelSettings(dim=128, dims=[64, 256])}, r"got \[64, 256\] and 128: give \[64, 128\]"),
        ({"optim": OptimSettings(ema=1.0)}, "--optim.ema 1 would keep the weights of the start"),
    ],
)
def test_a_recipe_that_contradicts_itself_is_refused(change: dict, message: str) -> None:
    with pytest.raises(SettingError, match=message):
        Settings(**change).check()
