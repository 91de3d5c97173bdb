"""Tests that the cost of the memory is measured under the conditions of training."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from lightning.fabric import Fabric

from crossbatch.training import follow_network, run_parts, step_cost
from crossbatch.training.run_parts import build_parts
from crossbatch.training.settings import Settings


def test_a_last_piece_of_one_image_has_no_statistics_and_is_embedded_all_the_same(
    quick: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = quick()
    arms = [build_parts(replace(settings, memory=replace(settings.memory, size=size))) for size in (0, None)]
    batch = arms[1].feed.batches.size
    monkeypatch.setattr(follow_network, "probe_images", lambda *_: batch + 1)
    monkeypatch.setattr(run_parts, "probe_images", lambda *_: batch + 1)
    arms[1] = build_parts(replace(settings, memory=replace(settings.memory, size=None)))
    assert len(arms[1].learner.following.probe) == batch + 1
    assert step_cost.measure(*arms, rounds=1, warmup=0).ratio > 0


def test_a_step_is_timed_with_the_options_of_the_run(
    quick: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = quick()
    loop = replace(settings.loop, precision="bf16-mixed", embed_at_once=2)
    settings = replace(settings, loop=loop, model=replace(settings.model, freeze_bn=True, pooling="avg"))
    arms = [build_parts(replace(settings, memory=replace(settings.memory, size=size))) for size in (0, None)]
    accelerators: list[str] = []
    seen: list[tuple[int, bool, torch.dtype]] = []

    def fabric(accelerator: str, **options: object) -> Fabric:
        accelerators.append(accelerator)
        return Fabric(accelerator=accelerator, **options)

    def look(_: torch.nn.Module, given: tuple[torch.Tensor], out: torch.Tensor) -> None:
        seen.append((len(given[0]), torch.is_grad_enabled(), out.dtype))

    monkeypatch.setattr(step_cost, "Fabric", fabric)
    for arm in arms:
        arm.learner.embedder.head.register_forward_hook(look)
    step_cost.measure(*arms, rounds=2, warmup=0)
    assert accelerators == ["cpu"]
    assert {kind for *_, kind in seen} == {torch.bfloat16}
    assert {images for images, trains, _ in seen if trains} == {2}
