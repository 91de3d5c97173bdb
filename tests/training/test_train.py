"""Tests of a run: what it leaves, that it can stop and resume, and that only seed and step decide its result."""

import io
import logging
import os
import re
import shutil
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import lightning as L
import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file
from trackers import OneRun

from crossbatch import runs
from crossbatch.__main__ import main
from crossbatch.data.augment import Augment
from crossbatch.data.batches import TrainingBatches
from crossbatch.data.image_files import naming
from crossbatch.data.split import Split
from crossbatch.data.transforms import Preprocessing
from crossbatch.errors import DivergedError, RunError, SettingError
from crossbatch.losses import LOSSES
from crossbatch.models import checkpoint
from crossbatch.training.checkpoints import BestModel
from crossbatch.training.cores import torch_threads
from crossbatch.training.evaluation import evaluate_run
from crossbatch.training.fill_memory import FillMemory
from crossbatch.training.interrupt import Stopped
from crossbatch.training.loggers import quiet_lightning
from crossbatch.training.metric_learner import MetricLearner
from crossbatch.training.plan import plan_of, print_plan
from crossbatch.training.run_parts import build_parts
from crossbatch.training.settings import (
    BatchSettings,
    LoopSettings,
    LossSettings,
    MemorySettings,
    ModelSettings,
    OptimSettings,
    Settings,
)
from crossbatch.training.train import Outcome, fit

Quick = Callable[..., Settings]
OWN_NETWORK = """
from timm.models import register_model
from torch import nn


class Tiny(nn.Module):
    def __init__(self, in_chans=3, **_):
        super().__init__()
        self.num_features = self.head_hidden_size = 8
        self.body = nn.Conv2d(in_chans, 8, 3, 2, 1)
        self.pretrained_cfg = {"input_size": (3, 16, 16), "crop_pct": 1.0, "mean": (0.5,) * 3, "std": (0.5,) * 3}

    def forward(self, x):
        return self.body(x).mean((2, 3))


@register_model
def own_tiny_net(pretrained=False, **options):
    return Tiny(**options)
"""


def train(settings: Settings, run: Path, console: Console, **options: object) -> Outcome:
    return fit(build_parts(settings), run, console, **options)


def weights(run: Path) -> dict[str, torch.Tensor]:
    return load_file(run / "model.safetensors")


def saved(run: Path, checkpoint: str = "last") -> dict[str, Any]:
    return torch.load(run / "checkpoints" / f"{checkpoint}.ckpt", weights_only=True)


def last(run: Path) -> dict[str, torch.Tensor]:
    return saved(run)["state_dict"]


def network(run: Path, checkpoint: str) -> dict[str, torch.Tensor]:
    """The network's state in a checkpoint."""
    prefix, kept = "embedder.", saved(run, checkpoint)["state_dict"]
    return {name.removeprefix(prefix): value for name, value in kept.items() if name.startswith(prefix)}


def assert_same(left: dict[str, torch.Tensor], right: dict[str, torch.Tensor]) -> None:
    assert left.keys() == right.keys()
    assert [name for name in left if not torch.equal(left[name], right[name])] == []


def test_a_run_leaves_everything_in_its_folder(quick: Quick, tmp_path: Path, console: Console) -> None:
    run = tmp_path / "run"
    outcome = train(quick(), run, console)
    files = ("config.yaml", "model.safetensors", "model.json", "summary.json", "augmented.png", "checkpoints/best.ckpt")
    for name in (*files, "checkpoints/start.safetensors"):
        assert (run / name).is_file()
    assert Settings.from_dict(runs.read_config(run)) == build_parts(quick()).settings
    assert runs.read_decided(run).keys() == {"augment.policy"}
    metrics = runs.read_metrics(run)
    assert [step for step, _ in metrics["val/R@1"]] == [3, 7, 11]
    assert metrics["memory_rows"][-1][1] == build_parts(quick()).memory.size
    assert outcome.summary == runs.read_json(run / "summary.json")
    assert outcome.summary["steps"] == 12
    assert not outcome.interrupted
    assert not list(run.rglob("*.partial"))
    assert "val R@1" in console.file.getvalue()
    assert list((run / "logs" / "tensorboard").glob("events*"))


def test_kernels_lie_channels_last_on_a_cpu_and_are_kept_as_any_reader_wants_them(
    quick: Quick, tmp_path: Path, console: Console
) -> None:
    parts = build_parts(quick())
    kernels = [kernel for kernel in parts.learner.embedder.parameters() if kernel.dim() == 4]
    fit(parts, tmp_path / "run", console)
    assert kernels
    assert not any(kernel.is_contiguous() for kernel in kernels)
    assert all(kernel.is_contiguous(memory_format=torch.channels_last) for kernel in kernels)
    assert_same(weights(tmp_path / "run"), network(tmp_path / "run", "best"))


def test_what_is_empty_of_the_memory_is_filled_when_it_starts(quick: Quick, tmp_path: Path, console: Console) -> None:
    """It is filled with images that it does not hold. Filling changes no statistics of the network."""
    parts = build_parts(quick(steps=5, start=4))
    fit(parts, tmp_path / "run", console)
    memory = parts.memory
    assert len(memory) == memory.size == len(parts.data.train)
    written = memory.steps.bincount().tolist()
    assert written == [0, 6, 6, 6, memory.size - 18]  # the last batch has replaced the first
    held, filled = memory.ids[6:24].tolist(), memory.ids[24:].tolist()
    assert len(set(filled)) == len(filled) > 0
    assert not set(held) & set(filled)
    fit(build_parts(quick(steps=5, start=4, memory=MemorySettings(fill=False, start=4))), tmp_path / "empty", console)
    one, other = (load_file(tmp_path / name / "model.safetensors") for name in ("run", "empty"))
    running = [name for name in one if "running" in name]
    assert running
    assert all(torch.equal(one[name], other[name]) for name in running)


def test_a_resumed_run_ends_where_a_straight_one_does(quick: Quick, tmp_path: Path, console: Console) -> None:
    """Ctrl-C stops it in the middle. Memory, schedule and batches then continue as without the stop."""
    before = signal.getsignal(signal.SIGINT)  # a background shell ignores SIGINT
    train(quick(), tmp_path / "straight", console)
    parts = build_parts(quick())
    fill = FillMemory.on_train_batch_start

    def interrupt(self, trainer, *rest):
        if trainer.global_step == 6:
            os.kill(os.getpid(), signal.SIGINT)
        fill(self, trainer, *rest)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FillMemory, "on_train_batch_start", interrupt)
        outcome = fit(parts, tmp_path / "stopped", console)
    assert outcome.interrupted
    assert outcome.summary["steps"] == 7
    assert (tmp_path / "stopped" / "model.safetensors").is_file()
    resumed = train(quick(), tmp_path / "stopped", console, resume=True)
    assert not resumed.interrupted
    assert resumed.summary["steps"] == 12
    assert_same(last(tmp_path / "straight"), last(tmp_path / "stopped"))
    assert len(list((tmp_path / "stopped" / "logs" / "csv").iterdir())) == 2
    assert signal.getsignal(signal.SIGINT) is before


def test_a_run_that_is_stopped_in_its_first_step_keeps_the_weights_before_training(
    quick: Quick, tmp_path: Path, console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its forward pass has already changed the BatchNorm statistics."""
    step = MetricLearner.training_step

    def interrupted(self: MetricLearner, *given: Any) -> Any:
        step(self, *given)
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(MetricLearner, "training_step", interrupted)
    outcome = train(quick(), tmp_path / "run", console)
    assert outcome.interrupted
    assert outcome.summary["steps"] == 0
    assert outcome.summary["best_validation_MAP@R"] is None
    kept, began = load_file(tmp_path / "run" / "model.safetensors"), load_file(tmp_path / "run" / runs.START)
    assert all(torch.equal(kept[name], began[name]) for name in began)


def test_the_end_of_a_run_is_no_image_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(Stopped), naming(tmp_path / "a.jpg"):
        raise Stopped


def killed(settings: Settings, run: Path, console: Console, step: int) -> None:
    """Train a run that is killed without notice before this step."""

    def kill(self: FillMemory, trainer: L.Trainer, *rest: object) -> None:
        if trainer.global_step == step:
            raise SystemError("killed")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FillMemory, "on_train_batch_start", kill)
        with pytest.raises(SystemError, match="killed"):
            train(settings, run, console)


def test_a_run_folder_may_move_and_keeps_its_best(quick: Quick, tmp_path: Path, console: Console) -> None:
    """It resumes elsewhere, with a learning rate that improves nothing."""
    settings = quick(optim=OptimSettings(steps=12, lr=1e-9))
    killed(settings, tmp_path / "here", console, 10)
    before = best_of(tmp_path / "here")
    shutil.move(tmp_path / "here", tmp_path / "there")
    resumed = train(settings, tmp_path / "there", console, resume=True)
    assert best_of(tmp_path / "there") == before
    assert resumed.summary["best_validation_R@1"] == before["best_model_score"]


def best_of(run: Path) -> dict[str, object]:
    """Score and file name of the best checkpoint, as stored in the last checkpoint."""
    callbacks = saved(run)["callbacks"]
    (state,) = (value for name, value in callbacks.items() if name.startswith("BestModel"))
    path = Path(state["best_model_path"])
    assert path.parent == run / "checkpoints"
    return {"best_model_score": float(state["best_model_score"]), "name": path.name}


def test_a_kill_loses_no_more_than_since_the_last_validation(quick: Quick, tmp_path: Path, console: Console) -> None:
    """This holds whether or not that validation was the best, and in a refit without validation."""
    for refit in (False, True):
        killed(quick(refit=refit), tmp_path / f"{refit}", console, 10)
        assert saved(tmp_path / f"{refit}")["global_step"] == 8


def test_another_data_set_than_the_run_s_is_refused(
    quick: Quick, pictures: Path, tmp_path: Path, console: Console
) -> None:
    root = tmp_path / "pictures"
    shutil.copytree(pictures, root)
    train(quick(root=root, steps=4), tmp_path / "run", console)
    next(root.rglob("*.png")).unlink()
    changed = build_parts(quick(root=root, steps=4))
    with pytest.raises(RunError, match=r"was trained on folder with fingerprint .* bring the data set back") as told:
        evaluate_run(tmp_path / "run", changed.data, "test")
    counts = [int(count) for count in re.findall(r"\((\d+) images, \d+ classes\)", str(told.value))]
    assert counts == [len(changed.data.images) + 1, len(changed.data.images)]
    assert "or measure on any images with --on" in str(told.value)
    with pytest.raises(RunError, match=r"this has changed: data fingerprint \(.* → .*\): bring it back .* add --force"):
        fit(changed, tmp_path / "run", console, resume=True)


def test_what_lightning_refuses_is_refused_before_a_folder_is_made(
    quick: Quick, tmp_path: Path, console: Console
) -> None:
    for loop in (LoopSettings(accelerator="abacus"), LoopSettings(logger="lightning.pytorch.loggers.WandbLogger")):
        with pytest.raises(SettingError, match=r"--loop\.(accelerator abacus|logger lightning)"):
            train(quick(loop=loop), tmp_path / "run", console)
    assert not (tmp_path / "run").exists()


def test_runs_do_not_depend_on_workers(quick: Quick, tmp_path: Path, console: Console) -> None:
    for workers in (0, 2):
        loop = LoopSettings(check_every=4, accelerator="cpu", workers=workers)
        parts = build_parts(quick(steps=6, loop=loop))
        parts = replace(parts, threads=1)
        fit(parts, tmp_path / str(workers), console)
    assert_same(last(tmp_path / "0"), last(tmp_path / "2"))


def test_another_seed_is_another_run(quick: Quick, tmp_path: Path, console: Console) -> None:
    for seed in (0, 0, 1):
        run = tmp_path / f"{seed}-{len(list(tmp_path.iterdir()))}"
        train(quick(steps=3, seed=seed), run, console)
    first, again, other = (last(run) for run in sorted(tmp_path.iterdir()))
    assert_same(first, again)
    assert any(not torch.equal(first[name], other[name]) for name in first)


def test_the_best_model_is_the_one_that_validated_best(quick: Quick, tmp_path: Path, console: Console) -> None:
    settings = quick(steps=12)
    outcome = train(settings, tmp_path / "run", console)
    values = [value for _, value in runs.read_metrics(tmp_path / "run")["val/R@1"]]
    assert outcome.summary["best_validation_R@1"] == pytest.approx(max(values))
    looked = evaluate_run(tmp_path / "run", build_parts(settings).data, "validation")
    assert looked["R@1"] == pytest.approx(max(values))


def test_in_half_precision_it_validates_as_the_model_embeds(quick: Quick, tmp_path: Path, console: Console) -> None:
    loop = LoopSettings(check_every=4, accelerator="cpu", workers=0, precision="bf16-mixed")
    parts = build_parts(quick(loop=loop))
    summary = fit(parts, tmp_path / "run", console).summary
    found = evaluate_run(tmp_path / "run", parts.data, "validation")
    assert [found[name] for name in ("R@1", "MAP@R")] == [
        summary[f"best_validation_{name}"] for name in ("R@1", "MAP@R")
    ]


def test_without_memory(quick: Quick, tmp_path: Path, console: Console) -> None:
    outcome = train(quick(size=0), tmp_path / "run", console)
    assert outcome.summary["memory_rows"] == 0
    assert "memory_rows" not in runs.read_metrics(tmp_path / "run")


def test_a_memory_that_never_starts_changes_nothing(quick: Quick, tmp_path: Path, console: Console) -> None:
    train(quick(size=0), tmp_path / "without", console)
    train(quick(start=100), tmp_path / "waiting", console)
    assert_same(weights(tmp_path / "without"), weights(tmp_path / "waiting"))


def test_init_starts_from_the_model_of_another_run(quick: Quick, tmp_path: Path, console: Console) -> None:
    train(quick(steps=3), tmp_path / "first", console)
    parts = build_parts(quick(steps=1, optim=OptimSettings(steps=1, lr=1e-12, warmup=0)))
    fit(parts, tmp_path / "second", console, init=tmp_path / "first")
    before, after = weights(tmp_path / "first"), weights(tmp_path / "second")
    assert torch.allclose(before["head.weight"], after["head.weight"], atol=1e-6)
    other = build_parts(quick(model=replace(quick().model, dim=4)))
    with pytest.raises(RunError, match="do not fit this model"):
        fit(other, tmp_path / "third", console, init=tmp_path / "first")
    assert not (tmp_path / "third").exists()


def test_refit_trains_on_all_training_classes(quick: Quick, tmp_path: Path, console: Console) -> None:
    tuned, refit = build_parts(quick()), build_parts(quick(refit=True))
    assert len(refit.data.train) == len(tuned.data.train) + len(tuned.data.validation)
    assert not set(refit.data.train.labels.tolist()) & set(refit.data.query.labels.tolist())
    outcome = fit(refit, tmp_path / "run", console)
    assert outcome.summary["best_validation_R@1"] is None
    assert_same(weights(tmp_path / "run"), network(tmp_path / "run", "last"))
    told = "the model was trained on the validation classes (--refit)"
    notes = {part: evaluate_run(tmp_path / "run", tuned.data, part)["notes"] for part in ("validation", "test")}
    assert [any(told in note for note in notes[part]) for part in notes] == [True, False]


def test_early_stopping_without_validation_is_refused(quick: Quick) -> None:
    loop = LoopSettings(patience=2, accelerator="cpu", workers=0)
    with pytest.raises(SettingError, match="patience stops by R@1 on validation classes, and there are none"):
        build_parts(quick(loop=loop, refit=True))
    with pytest.raises(SettingError, match="patience stops by R@1"):
        build_parts(quick(loop=loop, split=Split(validation_share=0)))


def test_loggers_of_lightning_are_as_before_a_run_that_fails() -> None:
    names = ("lightning.pytorch", "lightning.fabric.utilities.distributed")
    before = [logging.getLogger(name).level for name in names]
    with suppress(ValueError), quiet_lightning():
        assert [logging.getLogger(name).level for name in names] == [logging.ERROR] * 2
        raise ValueError
    assert [logging.getLogger(name).level for name in names] == before


def test_stops_early(quick: Quick, tmp_path: Path, console: Console) -> None:
    loop = LoopSettings(check_every=1, patience=2, accelerator="cpu", workers=0)
    settings = quick(steps=200, loop=loop, optim=OptimSettings(steps=200, lr=1e-9, warmup=0))
    assert train(settings, tmp_path / "run", console).summary["steps"] < 200


def test_a_further_logger_by_class_path(quick: Quick, tmp_path: Path, console: Console) -> None:
    path = "lightning.pytorch.loggers.CSVLogger"
    loop = LoopSettings(check_every=4, accelerator="cpu", workers=0, logger=path)
    train(quick(steps=4, loop=loop), tmp_path / "run", console)
    assert list((tmp_path / "run" / "logs" / "lightning_logs").rglob("metrics.csv"))
    for wrong, why in (
        ("nowhere.Logger", ""),
        ("pathlib.Path", ""),
        ("trackers.Unset", r" cannot be made \(RuntimeError: no server was named\)"),
    ):
        with pytest.raises(SettingError, match=f"--loop.logger {wrong}{why}"):
            train(quick(loop=replace(loop, logger=wrong)), tmp_path / "other", console)
    assert not (tmp_path / "other").exists()


def test_a_logger_may_write_to_the_run_folder_as_soon_as_it_is_made(
    quick: Quick, tmp_path: Path, console: Console
) -> None:
    loop = LoopSettings(check_every=4, accelerator="cpu", workers=0, logger="trackers.Eager")
    train(quick(steps=4, loop=loop), tmp_path / "first", console)
    assert (tmp_path / "first" / "logs" / "first.txt").is_file()
    with pytest.raises(RunError, match="is not empty"):
        train(quick(steps=4, loop=loop), tmp_path / "first", console)


def test_each_training_of_a_process_has_its_own_run_in_a_tracker(
    quick: Quick, tmp_path: Path, console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(run=None))
    monkeypatch.setattr(OneRun, "made", ())
    monkeypatch.setattr(OneRun, "statuses", ())
    loop = LoopSettings(check_every=4, accelerator="cpu", workers=0, logger="trackers.OneRun")
    for name in ("one", "other"):
        train(quick(steps=4, loop=loop), tmp_path / name, console)
    diverging = quick(steps=4, loop=loop, optim=OptimSettings(steps=4, lr=1e30, warmup=0))
    with pytest.raises(DivergedError):
        train(diverging, tmp_path / "diverging", console)
    assert OneRun.made == ("one", "other", "diverging")
    assert OneRun.statuses == (0, 0, 1)
    sweep = SimpleNamespace(finish=lambda **_: pytest.fail("a run that somebody else began is not ended"))
    monkeypatch.setattr(sys.modules["wandb"], "run", sweep)
    train(quick(steps=4, loop=loop), tmp_path / "within a sweep", console)
    assert len(OneRun.made) == 3


def test_a_folder_with_another_run_is_left_alone(quick: Quick, tmp_path: Path, console: Console) -> None:
    (tmp_path / "precious").write_text("mine")
    with pytest.raises(RunError, match="is not empty"):
        train(quick(), tmp_path, console)
    assert [path.name for path in tmp_path.iterdir()] == ["precious"]


def test_a_truncated_checkpoint_is_named(quick: Quick, tmp_path: Path, console: Console) -> None:
    run = tmp_path / "run"
    train(quick(steps=4), run, console)
    path = run / "checkpoints" / "last.ckpt"
    path.write_bytes(path.read_bytes()[:2000])
    before = sorted(run.rglob("*"))
    with pytest.raises(RunError, match=r"no checkpoint of .* can be read: .*last\.ckpt is damaged: it has 2,000 bytes"):
        train(quick(steps=4), run, console, resume=True)
    assert sorted(run.rglob("*")) == before


def test_a_corrupt_image_is_skipped_or_refused(quick: Quick, pictures: Path, tmp_path: Path, console: Console) -> None:
    root = tmp_path / "pictures"
    shutil.copytree(pictures, root)
    for folder in sorted(root.iterdir()):
        (folder / "0.png").write_bytes(b"not a picture")
    loop = LoopSettings(check_every=4, accelerator="cpu", workers=0, on_corrupt="skip")
    assert train(quick(root=root, loop=loop), tmp_path / "skipped", console).summary["steps"] == 12
    with pytest.raises(Exception, match=r"cannot read the image .*0\.png"):
        train(quick(root=root), tmp_path / "refused", console)


def test_the_plan_says_what_the_run_will_do(quick: Quick) -> None:
    plan = "\n".join(plan_of(build_parts(quick(memory=MemorySettings(size=20, start=4)))))
    assert "6 = 3 classes × 2 images: each image is compared with 4 of other classes" in plan
    assert "memory    20 rows of 8 numbers (float32), 0.0 MB" in plan
    assert "training images of 6 classes" in plan
    assert "rises to" not in plan
    short = "\n".join(plan_of(build_parts(quick(optim=OptimSettings(steps=4, warmup=50, lr=0.01)))))
    assert "the learning rate rises to 0.00033 only: lower --optim.warmup 50, of" in short
    for steps, told in ((60, True), (400, False)):
        plan = "\n".join(plan_of(build_parts(quick(optim=OptimSettings(steps=steps, warmup=50)))))
        assert ("the learning rate rises to" in plan) == told


def test_a_terminal_gets_the_plan_broken_between_words_and_a_pipe_a_sentence_a_line() -> None:
    lines = [f"memory    {'a sentence of words ' * 6}/and/a/path-with-hyphens".rstrip(), f"{' ' * 10}short"]
    shown = {terminal: io.StringIO() for terminal in (True, False)}
    for terminal, file in shown.items():
        print_plan(Console(file=file, width=60, force_terminal=terminal, soft_wrap=True, highlight=False), lines)
    assert shown[False].getvalue().splitlines() == lines
    first, *others = shown[True].getvalue().splitlines()
    assert all(line.startswith(" " * 10) for line in others)
    assert max(map(len, [first, *others])) <= 60
    assert " ".join(" ".join([first, *others]).split()) == " ".join(" ".join(lines).split())


@pytest.mark.parametrize(
    ("memory", "told"),
    [
        (MemorySettings(size=12), "it holds 2 batches: 75% of the images find an earlier row of their class there"),
        (MemorySettings(size=12, earlier_only=False), None),
        (MemorySettings(size=30), None),
    ],
)
def test_the_plan_says_how_many_anchors_the_memory_serves(
    memory: MemorySettings, told: str | None, quick: Quick
) -> None:
    plan = "\n".join(plan_of(build_parts(quick(memory=memory))))
    assert told in plan if told else "it holds" not in plan


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"refit": True}, "no validation, whose classes are trained on (--refit)"),
        ({"memory": MemorySettings(start=12)}, "it will not count: the run has 12 steps; lower --memory.start"),
        ({"memory": MemorySettings(size=99)}, "it is larger than the 36 training images: older rows of the same image"),
        ({"batch": BatchSettings(1, 2)}, "a batch has one class and no negative: raise --batch.classes"),
        (
            {"optim": OptimSettings(steps=9, warmup=2, schedule="steps", milestones=[5, 9])},
            "the learning rate never falls at [9]: the run has 9 steps",
        ),
        ({"optim": OptimSettings(steps=9, warmup=2, schedule="constant")}, "learning rate 0.001, schedule constant,"),
        ({"augment": Augment(crop_ratio=3.0)}, "crop_ratio 3"),
    ],
)
def test_the_plan_says_what_will_not_be_as_one_may_think(changed: dict[str, Any], told: str, quick: Quick) -> None:
    assert told in "\n".join(plan_of(build_parts(quick(**changed))))
    assert told not in "\n".join(plan_of(build_parts(quick())))


@pytest.mark.parametrize(
    ("queries", "classes", "told"),
    [
        (30, 3, "validation: 30 queries of 3 classes: one query is 3.3 points of R@1, so the step that is kept is"),
        (199, 20, "validation: 199 queries of 20 classes: one query is 0.5 points"),
        (500, 9, "validation: 500 queries of 9 classes: other classes may disagree, so the step that is kept is"),
        (200, 10, None),
        (0, 0, None),
    ],
)
def test_the_plan_warns_of_a_validation_that_chooses_by_chance(
    queries: int, classes: int, told: str | None, quick: Quick
) -> None:
    parts = build_parts(quick())
    labels = torch.arange(queries) % max(classes, 1)
    held_out = replace(parts.data.validation, labels=labels, ids=torch.arange(queries))
    notes = [line for line in plan_of(replace(parts, data=replace(parts.data, validation=held_out))) if "note" in line]
    assert told in "".join(notes) if told else not [note for note in notes if "by chance" in note]


@pytest.mark.parametrize("choice", [{"train_stages": 1}, {"freeze_bn": True}])
def test_what_is_frozen_is_saved_as_it_was(
    choice: dict[str, object], quick: Quick, tmp_path: Path, console: Console
) -> None:
    """Filling the memory and validation change nothing. Adam has state only for weights that learn."""
    model = replace(quick().model, pooling="gem", **choice)
    parts = build_parts(quick(steps=6, model=model))
    before = {name: value.clone() for name, value in parts.learner.embedder.state_dict().items()}
    frozen = [name for name, weight in parts.learner.embedder.named_parameters() if not weight.requires_grad]
    fit(parts, tmp_path / "run", console)
    after = last(tmp_path / "run")
    changed = {name for name in before if not torch.equal(before[name], after[f"embedder.{name}"])}
    kept = {"train_stages": range(9), "freeze_bn": (1, 4, 7, 10)}[next(iter(choice))]
    assert frozen
    assert not {name for name in changed if name.startswith("backbone.") and int(name.split(".")[1]) in kept}
    assert {"backbone.9.weight", "pooling.power", "head.weight"} <= changed
    optimizer = saved(tmp_path / "run")["optimizer_states"][0]
    assert len(optimizer["state"]) == len(list(parts.learner.embedder.parameters())) - len(frozen)
    plan = "\n".join(plan_of(parts))
    assert " learn), gem pooling, 16×16×3 images" in plan
    assert evaluate_run(tmp_path / "run", parts.data, "validation")["R@1"] >= 0


def test_a_run_starts_from_a_file_and_says_what_matched(quick: Quick, tmp_path: Path) -> None:
    plain = replace(quick().model, pooling="avg")
    source = build_parts(quick(seed=1, model=plain)).learner.embedder.state_dict()
    file = tmp_path / "weights.pth"
    torch.save({"state_dict": {name: value for name, value in source.items() if name != "backbone.0.weight"}}, file)
    parts = build_parts(quick(model=replace(plain, weights=file)))
    told = (
        f"weights   19 of 20 tensors of the backbone from {file}; missing: 0.weight; not used: head.weight, head.bias"
    )
    assert told in plan_of(parts)
    started = parts.learner.embedder.state_dict()
    assert torch.equal(started["backbone.3.weight"], source["backbone.3.weight"])
    assert not torch.equal(started["head.weight"], source["head.weight"])
    assert not [line for line in plan_of(build_parts(quick())) if line.startswith("weights")]


@pytest.mark.parametrize(("given", "kept"), [({}, True), ({"freeze_bn": False}, False)])
def test_trained_weights_keep_their_batch_norm_unless_told_otherwise(
    given: dict[str, object], kept: bool, quick: Quick, tmp_path: Path
) -> None:
    parts = build_parts(quick())
    file = tmp_path / "weights.pth"
    torch.save(parts.learner.embedder.state_dict(), file)
    trained = build_parts(quick(model=replace(quick().model, weights=file, **given)))
    assert ("BatchNorm kept as it is" in "\n".join(plan_of(trained))) == kept
    embedder = trained.learner.embedder
    norms = [module for module in embedder.backbone.train().modules() if isinstance(module, torch.nn.BatchNorm2d)]
    embedder.train()
    assert norms
    assert {norm.training for norm in norms} == {not kept}
    assert {parameter.requires_grad for norm in norms for parameter in norm.parameters()} == {not kept}
    assert not parts.learner.embedder.kept


def test_trained_weights_take_a_lower_rate_unless_one_is_given() -> None:
    trained = Settings(model=ModelSettings(weights=Path("w.pth")))
    assert trained.at_usual_rate({}).optim.lr == 1e-4
    assert trained.at_usual_rate({"optim": {"lr": 0.001}}).optim.lr == 1e-3
    assert Settings().at_usual_rate({"optim": {"steps": 3}}).optim.lr == 1e-3
    assert Settings().at_usual_rate({}, trained=True).optim.lr == 1e-4


def test_training_batches_start_at_the_step_of_the_trainer(quick: Quick) -> None:
    feed = build_parts(quick()).feed
    loader = feed.train_dataloader()
    assert isinstance(loader.dataset, TrainingBatches)
    first = next(iter(loader))
    assert torch.equal(first[2], loader.dataset[0][2])


@pytest.mark.parametrize("loss", LOSSES)
def test_every_loss_trains_by_its_name(loss: str, quick: Quick, tmp_path: Path, console: Console) -> None:
    settings = quick(steps=4, start=2, loss=LossSettings.named(loss))
    train(settings, tmp_path / "run", console)
    learnt = [name for name in last(tmp_path / "run") if name.startswith("loss_fn.loss.")]
    assert learnt == (["loss_fn.loss.beta"] if loss == "margin" else [])
    metrics = runs.read_metrics(tmp_path / "run")
    assert metrics["val/R@1"]


def test_threads_are_given_back_where_training_fails() -> None:
    before = torch.get_num_threads()
    with suppress(RunError), torch_threads(before + 1):
        raise RunError("stopped")
    assert torch.get_num_threads() == before


@pytest.mark.parametrize("way", ["crop", "pad", "squash"])
def test_images_that_are_not_square_train_and_are_searched_alike(
    way: str, quick: Quick, tmp_path: Path, console: Console
) -> None:
    settings = quick(steps=4, start=2, model=ModelSettings(dim=8, image_size="24x12", fit=way, background="black"))
    parts = build_parts(settings)
    assert "24×12×3 images" in "\n".join(plan_of(parts))
    assert next(iter(parts.feed.train_dataloader()))[0].shape == (6, 3, 24, 12)
    train(settings, tmp_path / "run", console)
    _, description = checkpoint.load(tmp_path / "run")
    assert Preprocessing.restore(description.preprocessing) == parts.feed.evenly.preprocessing
    assert description.preprocessing["fit"] == way
    assert evaluate_run(tmp_path / "run", parts.data, "test")["R@1"] >= 0


def test_of_models_with_equal_recall_the_one_with_the_better_ranking_is_kept() -> None:
    """With few validation classes, a hardly trained model already has R@1 of 1 at the first validation."""
    saver = BestModel(monitor="val/R@1", mode="max")
    kept = []
    for recall, ranking in ((1.0, 0.4), (1.0, 0.9), (0.9, 1.0), (1.0, 0.8), (1.0, 0.95)):
        found = {"val/R@1": torch.tensor(recall), "val/MAP@R": torch.tensor(ranking)}
        alone = SimpleNamespace(reduce_boolean_decision=bool)
        better = saver.check_monitor_top_k(SimpleNamespace(callback_metrics=found, strategy=alone), found["val/R@1"])
        kept.append(better)
        if better:
            saver.best_k_models, saver.kth_best_model_path = {"best.ckpt": found["val/R@1"]}, "best.ckpt"
            saver.best_model_score = found["val/R@1"]
    assert kept == [True, True, False, False, True]
    again = BestModel(monitor="val/R@1", mode="max")
    again.load_state_dict({**saver.state_dict(), "best_model_path": ""})
    assert again.map_at_r == pytest.approx(0.95)


def test_runs_without_a_place_are_called_by_their_images(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A finished run does not block the name, but a stopped one does."""
    monkeypatch.chdir(tmp_path)
    words = "--batch.classes 3 --batch.images 2 --model.dim 8 --model.image_size 16 --optim.steps 2 --drift.sample 0"
    for name in ("", "-2"):
        assert main(["train", str(pictures), *words.split(), "--loop.accelerator", "cpu"]) == 0
        assert runs.is_finished(Path("runs", f"{pictures.name}-sup-con-seed0{name}"))


def test_a_backbone_of_ones_own_is_known_by_the_module_that_a_variable_names(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "own_networks.py").write_text(OWN_NETWORK)
    monkeypatch.chdir(tmp_path)
    words = "--batch.classes 3 --batch.images 2 --model.dim 8 --optim.steps 2 --drift.sample 0 --loop.accelerator cpu"
    train_it = ["train", str(pictures), "--model.backbone", "own_tiny_net", "--out", "run", *words.split()]
    assert main(train_it) == 2
    assert "the variable CROSSBATCH_IMPORT names its module" in capsys.readouterr().err
    monkeypatch.setenv("CROSSBATCH_IMPORT", "own_networks")
    assert main(train_it) == 0
    assert main(["evaluate", "run"]) == 0
    monkeypatch.setenv("CROSSBATCH_IMPORT", "nowhere")
    assert main(["evaluate", "run"]) == 2
    assert "CROSSBATCH_IMPORT nowhere cannot be imported" in capsys.readouterr().err
