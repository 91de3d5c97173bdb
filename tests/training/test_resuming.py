"""Tests of resuming: what a run continues with, what it refuses, and which errors end it in one sentence."""

import errno
import random
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml
from PIL import Image
from rich.console import Console

from crossbatch import durable, runs
from crossbatch.__main__ import main
from crossbatch.commands.options import parse
from crossbatch.errors import DiskError, DivergedError, RunError, SettingError
from crossbatch.training import checkpoint_files, memory_need
from crossbatch.training.checkpoint_files import choose, read
from crossbatch.training.circumstances import changes, with_given
from crossbatch.training.evaluation import evaluate_run
from crossbatch.training.loggers import loggers_of
from crossbatch.training.metric_learner import MetricLearner
from crossbatch.training.plan import plan_of
from crossbatch.training.resuming import without_images
from crossbatch.training.run_parts import build_parts
from crossbatch.training.settings import LoopSettings, LossSettings, MemorySettings, OptimSettings, Settings
from crossbatch.training.train import fit

Quick = Callable[..., Settings]


@pytest.fixture(scope="module")
def finished(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of eight steps, of which tests take a copy."""
    run = tmp_path_factory.mktemp("finished") / "run"
    words = (
        "--batch.classes 3 --batch.images 2 --model.dim 8 --model.image_size 16 --optim.steps 8 --loop.check_every 4"
    )
    quiet = "--loop.accelerator cpu --drift.sample 0 --memory.start 2"
    assert main(["train", str(pictures), *words.split(), *quiet.split(), "--out", str(run)]) == 0
    return run


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "run"))


def test_a_loss_that_is_not_finite_names_step_and_files(
    quick: Quick, tmp_path: Path, console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No checkpoint is from a later step."""
    step = MetricLearner.training_step

    def broken(self: MetricLearner, batch: object, number: int) -> torch.Tensor:
        loss = step(self, batch, number)
        return loss * float("nan") if self.global_step == 7 else loss

    monkeypatch.setattr(MetricLearner, "training_step", broken)
    with pytest.raises(DivergedError, match=r"the loss of step 8 is nan, of .*png, .*png, .*png and 3 more") as told:
        fit(build_parts(quick()), tmp_path / "run", console)
    assert "the last checkpoint is from before it: crossbatch train --resume" in str(told.value)
    kept = runs.read_json(tmp_path / "run" / runs.DIVERGED)
    assert (kept["step"], kept["loss"], len(kept["files"])) == (8, "nan", 6)
    path, saved, _ = choose(tmp_path / "run")
    assert saved == 4
    assert all(value.isfinite().all() for value in read(path)["state_dict"].values())


def test_a_disk_that_is_full_ends_a_run_in_one_sentence(
    quick: Quick, tmp_path: Path, console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = checkpoint_files._Hashed.write

    def full(self: object, data: bytes) -> int:
        if (tmp_path / "run/checkpoints/last.ckpt").exists():
            self.refused = OSError(errno.ENOSPC, "No space left on device")
            raise self.refused
        return written(self, data)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint_files._Hashed, "write", full)
        with pytest.raises(DiskError, match=r"cannot be written \(No space left on device\).*train --resume .*run$"):
            fit(build_parts(quick()), tmp_path / "run", console)
    assert choose(tmp_path / "run")[1] == 4
    assert fit(build_parts(quick()), tmp_path / "run", console, resume=True).summary["steps"] == 12


def test_what_has_changed_is_named_and_forced(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """This covers options on the command line and changes of the file by hand."""
    assert main(["train", "--resume", str(run), "--optim.lr", "0.01"]) == 2
    assert "this has changed: option optim.lr (0.001 → 0.01)" in capsys.readouterr().err
    kept = yaml.safe_load((run / "config.yaml").read_text())
    kept["optim"]["steps"] = 10
    (run / "config.yaml").write_text(yaml.safe_dump(kept))
    assert main(["train", "--resume", str(run)]) == 2
    assert "option optim.steps (8 → 10)" in capsys.readouterr().err
    assert main(["train", "--resume", str(run), "--optim.lr", "0.01", "--force"]) == 0
    assert (
        "goes on with a changed option optim.steps (8 → 10), option optim.lr (0.001 → 0.01)" in capsys.readouterr().out
    )
    assert runs.read_json(run / runs.SUMMARY)["steps"] == 10
    assert runs.read_config(run)["optim"]["lr"] == 0.01
    assert main(["train", "--resume", str(run)]) == 0


def contents(run: Path) -> dict[Path, bytes]:
    """The files of a run folder, without those that TensorBoard writes at each start."""
    return {path: path.read_bytes() for path in run.rglob("*") if path.is_file() and "tensorboard" not in path.parts}


def test_an_option_given_at_its_default_is_refused_and_forced(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--resume", str(run), "--drift.sample", "128"]) == 2
    assert "this has changed: option drift.sample (0 → 128)" in capsys.readouterr().err
    assert main(["train", "--resume", str(run), "--force", "--optim.lr", "0.01"]) == 2
    assert "is trained to its end, so nothing would be trained with the changed option" in capsys.readouterr().err
    assert main(["train", "--resume", str(run), "--force", "--optim.lr", "0.01", "--optim.steps", "10"]) == 0
    assert main(["train", "--resume", str(run), "--optim.lr", "0.001"]) == 2
    assert "option optim.lr (0.01 → 0.001)" in capsys.readouterr().err
    assert main(["train", "--resume", str(run), "--force", "--optim.lr", "0.001", "--optim.steps", "12"]) == 0
    assert runs.read_config(run)["optim"]["lr"] == 0.001
    assert main(["train", "--resume", str(run), "--config", str(run / runs.CONFIG)]) == 0


def test_options_that_are_forced_are_trained_with(run: Path) -> None:
    """The checkpoint holds the old learning rate, weight decay and start of the memory."""
    words = "--optim.steps 10 --optim.lr 0.01 --optim.warmup 0 --optim.schedule constant --optim.weight_decay 0.5"
    assert main(["train", "--resume", str(run), "--force", *words.split(), "--memory.start", "9"]) == 0
    checkpoint = read(run / "checkpoints/last.ckpt")
    (group,) = checkpoint["optimizer_states"][0]["param_groups"]
    assert (checkpoint["global_step"], group["lr"], group["weight_decay"]) == (10, 0.01, 0.5)
    assert checkpoint["lr_schedulers"][0]["base_lrs"] == [0.01]
    assert checkpoint["state_dict"]["loss_fn.start"] == 9


def test_a_refused_change_leaves_the_run_as_it_was(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = contents(run)
    assert main(["train", "--resume", str(run), "--force", "--model.dim", "16", "--optim.steps", "10"]) == 2
    assert "cannot go on with a changed option model.dim (8 → 16): leave that as it was" in capsys.readouterr().err
    assert contents(run) == before
    assert main(["train", "--resume", str(run)]) == 0


@pytest.mark.parametrize("place", [runs.DATA, runs.CONFIG, runs.CIRCUMSTANCES])
def test_after_an_end_while_a_change_is_written_it_is_refused_or_forced_again(
    place: str, run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write = durable.write_text

    def ends(path: Path, text: str) -> None:
        if path.name == place:
            raise DiskError("the end")
        write(path, text)

    again = ["train", "--resume", str(run), "--optim.steps", "10"]
    with monkeypatch.context() as patch:
        patch.setattr(durable, "write_text", ends)
        assert main([*again, "--force"]) == 1
    assert main(again) == 2
    assert "this has changed: option optim.steps (8 → 10)" in capsys.readouterr().err
    assert main([*again, "--force"]) == 0
    assert runs.read_summary(run)["steps"] == 10
    assert main(["train", "--resume", str(run)]) == 0


@pytest.mark.parametrize(
    ("words", "name", "options"),
    [
        ("", "contrastive", {"room": 0.7, "weigh": "cost"}),
        ("--loss contrastive", "contrastive", {"room": 0.7, "weigh": "cost"}),
        ("--loss contrastive --loss.neg_margin 0.4", "contrastive", {"room": 0.7, "weigh": "cost", "neg_margin": 0.4}),
        ("--loss.room 0.6", "contrastive", {"room": 0.6, "weigh": "cost"}),
        ("--loss nca", "nca", {"room": 0.7}),
        ("--loss triplet --loss.room 0.5", "triplet", {"room": 0.5, "weigh": "cost"}),
        ("--loss triplet --recommended false", "triplet", {}),
        ("--loss circle", "circle", {}),
        ("--loss multi-similarity", "multi-similarity", {}),
    ],
)
def test_another_loss_comes_with_its_own_options(words: str, name: str, options: dict[str, object]) -> None:
    kept = Settings(loss=LossSettings.named("contrastive", room=0.7, weigh="cost"), recommended=False)
    found, _ = parse("train", words.split())
    loss = with_given(kept, found["settings"], found["given"]).loss
    assert (loss.name, loss.init_args) == (name, options)


def test_versions_and_code_are_compared() -> None:
    before = {"version": {"torch": "2.0"}, "code": {"crossbatch": "a"}, "option": {"loop.workers": 0, "seed": 1}}
    now = {
        "version": {"torch": "2.1", "new": "1"},
        "code": {"crossbatch": "b"},
        "option": {"loop.workers": 2, "seed": 1},
    }
    assert changes(before, now) == ["version torch (2.0 → 2.1)", "code crossbatch (a → b)"]


def test_on_other_data_it_goes_on_with_an_empty_memory(
    quick: Quick, pictures: Path, tmp_path: Path, console: Console
) -> None:
    root = Path(shutil.copytree(pictures, tmp_path / "pictures"))
    fit(build_parts(quick(root=root, steps=4, start=2)), tmp_path / "run", console)
    next(root.rglob("*.png")).unlink()
    with pytest.raises(RunError, match="data fingerprint"):
        fit(build_parts(quick(root=root, steps=5, start=2)), tmp_path / "run", console, resume=True)
    parts = build_parts(quick(root=root, steps=5, start=2))
    fit(parts, tmp_path / "run", console, resume=True, force=True)
    assert len(parts.memory) == 6  # only the batch of the fifth step
    runs.require_data(tmp_path / "run", parts.data.identity)


def test_on_other_data_nothing_is_kept_that_was_measured_on_those_before(quick: Quick) -> None:
    learner, rows = build_parts(quick()).learner, torch.ones(2, 8)
    watched = {"embedded": {3: rows}, "carried": {3: rows}, "reason": "rows had moved"}
    state = {name: value + 1 for name, value in learner.state_dict().items()}
    callbacks = {"MemoryStart": watched, "DriftMeters": {"rows": [1]}, "Floor": {"R@1": 0.4}, "Other": {"a": 1}}
    left = without_images(learner, {"state_dict": state, "callbacks": callbacks})
    assert left["callbacks"] == {"MemoryStart": {**watched, "embedded": {}, "carried": {}}, "Other": {"a": 1}}
    for name, value in learner.state_dict().items():
        fresh = name.startswith(("loss_fn.memory.", "following."))
        assert torch.equal(left["state_dict"][name], value if fresh else value + 1)


def test_on_other_data_no_score_of_before_counts(
    quick: Quick, pictures: Path, tmp_path: Path, console: Console
) -> None:
    """The best model is chosen by its score on the current validation images."""
    root = Path(shutil.copytree(pictures, tmp_path / "pictures"))
    parts = build_parts(quick(root=root, steps=4, start=2))
    fit(parts, tmp_path / "run", console)
    kept = runs.read_json(tmp_path / "run" / runs.SUMMARY)
    assert (kept["best_step"], kept["before_training"] is None) == (4, False)
    (root / parts.data.images.name(int(parts.data.train.ids[0]))).unlink()  # validation is unchanged
    parts = build_parts(quick(root=root, steps=8, start=2, optim=OptimSettings(steps=8, lr=1e-12, warmup=2)))
    summary = fit(parts, tmp_path / "run", console, resume=True, force=True).summary
    assert summary["best_step"] == 8  # although no better than step 4
    assert summary["before_training"] is None  # it was of other images
    assert evaluate_run(tmp_path / "run", parts.data, "validation")["R@1"] == summary["best_validation_R@1"]


def test_a_run_that_stopped_early_goes_on_with_more_patience(quick: Quick, tmp_path: Path, console: Console) -> None:
    optim, loop = OptimSettings(steps=40, lr=1e-9, warmup=0), LoopSettings(1, patience=2, accelerator="cpu", workers=0)
    stopped = fit(build_parts(quick(optim=optim, loop=loop)), tmp_path / "run", console).summary["steps"]
    same = fit(build_parts(quick(optim=optim, loop=loop)), tmp_path / "run", console, resume=True)
    assert same.summary["steps"] == stopped < 40
    patient = quick(optim=optim, loop=replace(loop, patience=6))
    gone_on = fit(build_parts(patient), tmp_path / "run", console, resume=True, force=True)
    assert gone_on.summary["steps"] == stopped + 4


def test_where_a_loss_began_to_learn_from_cannot_be_changed_later(
    quick: Quick, tmp_path: Path, console: Console
) -> None:
    fit(build_parts(quick(loss=LossSettings.named("margin"), steps=4)), tmp_path / "run", console)
    parts = build_parts(quick(loss=LossSettings.named("margin", beta=0.9), steps=8))
    with pytest.raises(RunError, match=r"--loss.beta is where the loss starts to learn from, and .* leave it out"):
        fit(parts, tmp_path / "run", console, resume=True, force=True)


@pytest.mark.parametrize("changed", ["--optim.ema 0.9", "--optim.head_lr 0.1", "--memory.size 24"])
def test_an_option_that_the_checkpoint_does_not_fit_is_named(
    changed: str, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = contents(run)
    assert main(["train", "--resume", str(run), "--force", "--optim.steps", "12", *changed.split()]) == 2
    told = capsys.readouterr().err
    assert "cannot go on with a changed option" in told
    assert changed.split(maxsplit=1)[0].removeprefix("--") in told
    assert contents(run) == before


def test_a_run_without_a_checkpoint_begins_again_from_the_weights_it_had(
    quick: Quick, tmp_path: Path, console: Console
) -> None:
    """This includes weights of another run: `--init` need not be given again."""
    first = build_parts(quick(steps=1))
    fit(first, tmp_path / "first", console)
    straight = fit(build_parts(quick(steps=4)), tmp_path / "straight", console, init=tmp_path / "first").summary
    shutil.copytree(tmp_path / "straight", tmp_path / "run")
    for name in ("last", "best"):
        (tmp_path / f"run/checkpoints/{name}.ckpt").unlink()
    resumed = fit(build_parts(quick(steps=4)), tmp_path / "run", console, resume=True).summary
    assert resumed["before_training"] == straight["before_training"]
    models = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("straight", "run")]
    assert models[0] == models[1]


def test_a_damaged_checkpoint_is_told_and_the_one_before_used(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    last, best = run / "checkpoints/last.ckpt", run / "checkpoints/best.ckpt"
    last.write_bytes(last.read_bytes()[:-9])
    best.write_bytes(b"")
    assert main(["train", "--resume", str(run)]) == 0
    told = capsys.readouterr().out
    assert f"warning: {last} is damaged: it has" in told
    assert "the checkpoint before it is used, of step 4" in told
    assert f"warning: {best} is damaged" in told


def test_what_a_run_needs_is_told_and_what_cannot_fit_is_refused(quick: Quick) -> None:
    settings = quick(memory=MemorySettings(size=20, start=4))
    (line,) = (line for line in plan_of(build_parts(settings)) if line.startswith("needs "))
    assert " MB of this machine beside the data; " in line
    with pytest.raises(
        SettingError, match=r"a memory of 10,000,000,000,000 rows of 8 .* this machine has .* lower --memory.size"
    ):
        build_parts(replace(settings, memory=MemorySettings(size=10**13)))


@pytest.mark.parametrize("backbone", ["small", "googlenet"])
def test_what_is_kept_for_the_backward_pass_is_reckoned_by_two_images(backbone: str, quick: Quick) -> None:
    network = build_parts(quick(model=replace(quick().model, backbone=backbone, image_size=32))).learner.embedder
    before = {name: value.clone() for name, value in network.state_dict().items()}
    kept: dict[int, int] = {}

    def keep(value: torch.Tensor) -> torch.Tensor:
        kept[value.untyped_storage().data_ptr()] = value.untyped_storage().nbytes()
        return value

    reckoned = memory_need._kept_for_backward(network, 12, (32, 32), 3)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda value: value):
        embedded = network.train()(torch.rand(12, 3, 32, 32))
    own = sum(kept.get(value.untyped_storage().data_ptr(), 0) for value in [*network.parameters(), *network.buffers()])
    assert embedded.requires_grad
    assert reckoned == pytest.approx(sum(kept.values()) - own, rel=0.1)


def spoilt(run: Path, chance: random.Random) -> str:
    """Damage one file of a run, or replace it by what somebody could have put there. Return its name."""
    places = ["config.yaml", "data.json", "summary.json", "circumstances.json", "model.json", "model.safetensors"]
    places += ["evaluations.json", "drift.csv"]
    places += [f"checkpoints/{name}" for name in ("last.ckpt", "previous.ckpt", "best.ckpt", "hashes.json")]
    name = chance.choice(places)
    path = run / name
    contents = path.read_bytes() if path.is_file() else b""
    at = chance.randrange(len(contents) + 1)
    junk = [
        b"",
        b"{",
        b"[]",
        b"3",
        b"null",
        b"\xff\xfe",
        b"!!python/object/apply:os.system ['touch opened']",
        b"a: &a [*a]",
    ]
    ways = [
        contents[:at],
        contents[:at] + bytes([chance.randrange(256)]) + contents[at + 1 :],
        contents[:at] + contents[at + chance.randrange(40) :],
        chance.choice(junk),
        contents.replace(b": ", b": -", 1 + chance.randrange(5)),
        contents.replace(b"0", b"null"),
    ]
    path.write_bytes(chance.choice(ways))
    if chance.random() < 0.5:
        (run / "checkpoints/hashes.json").unlink(missing_ok=True)
    return name


def fuzz(finished: Path, place: Path, seed: int, monkeypatch: pytest.MonkeyPatch, capsys: object) -> None:
    chance, run = random.Random(seed), Path(shutil.copytree(finished, place / f"run{seed}"))
    name = spoilt(run, chance)
    monkeypatch.chdir(place)
    words = chance.choice([["train", "--resume"], ["train", "--resume"], ["evaluate"], ["report"]])
    status = main([*words, str(run)])
    told = capsys.readouterr()
    assert status in (0, 2), (seed, name, words, told.err)
    assert (status == 2) == told.err.startswith("crossbatch: "), (seed, name, words, told.err)
    assert not (place / "opened").exists()
    shutil.rmtree(run)


def test_whatever_a_run_folder_holds_there_is_a_sentence_and_no_traceback(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for seed in range(8):
        fuzz(finished, tmp_path, seed, monkeypatch, capsys)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(0, 500, 20))
def test_whatever_five_hundred_run_folders_hold(
    seed: int, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for one in range(seed, seed + 20):
        fuzz(finished, tmp_path, one, monkeypatch, capsys)


def test_two_sittings_from_one_step_keep_what_each_logged(tmp_path: Path) -> None:
    """The first one validated and was killed just after. The second one does not validate again at that step."""
    for value in ({"val/R@1": 0.5}, {"loss": 0.25}, {"loss": 0.125}):
        logger, *_ = loggers_of(None, tmp_path, 40)
        logger.log_metrics(value, 40)
        logger.save()
    assert runs.read_metrics(tmp_path) == {"val/R@1": [(40, 0.5)], "loss": [(40, 0.125)]}


def test_a_finished_run_stays_as_it_is(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = contents(run)
    assert main(["train", "--resume", str(run)]) == 0
    assert "is finished: nothing is left to do" in capsys.readouterr().out
    assert contents(run) == before


def test_seconds_are_those_of_the_whole_run(run: Path) -> None:
    """The time of a resumed run includes the time before it was resumed."""
    before = runs.read_json(run / runs.SUMMARY)
    assert main(["train", "--resume", str(run), "--force", "--optim.steps", "10"]) == 0
    after = runs.read_json(run / runs.SUMMARY)
    assert after["seconds"] > after["training_seconds"] > before["training_seconds"]


def test_images_that_are_gone_or_others_are_named_before_what_follows(
    run: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    few = tmp_path / "few"
    for number in range(5):
        shutil.copytree(pictures / f"class {number}", few / f"class {number}")
    assert main(["train", str(few), "--resume", str(run)]) == 2
    assert "since then this has changed: data fingerprint" in capsys.readouterr().err
    config = yaml.safe_load((run / runs.CONFIG).read_text())
    (run / runs.CONFIG).write_text(yaml.safe_dump({**config, "root": str(tmp_path / "gone")}))
    assert main(["train", "--resume", str(run)]) == 2
    assert "which is gone: say where it is, crossbatch train ROOT --resume" in capsys.readouterr().err
    assert main(["evaluate", str(run)]) == 2
    assert "which is gone: say where it is now with --root" in capsys.readouterr().err
    decided = runs.read_decided(run)
    assert main(["train", str(pictures), "--resume", str(run)]) == 0  # from now on the run knows the place
    assert main(["evaluate", str(run)]) == 0
    assert runs.read_decided(run) == decided


def test_a_run_starts_from_the_network_of_another(
    run: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Embedding length and image size are taken from it. A different one is refused before the plan is printed."""
    words = ["train", str(pictures), "--init", str(run), "--batch.classes", "3", "--batch.images", "2"]
    words += ["--optim.steps", "2", "--loop.accelerator", "cpu", "--drift.sample", "0"]
    assert main([*words, "--out", str(tmp_path / "next")]) == 0
    model = runs.read_config(tmp_path / "next")["model"]
    assert (model["dim"], model["image_size"], model["freeze_bn"]) == (8, 16, False)
    assert runs.read_config(tmp_path / "next")["optim"]["lr"] == 1e-4
    told = " ".join(capsys.readouterr().out.split())
    assert f"weights all those of {run}" in told
    assert "of the 4 test classes, by their names" not in told  # with the same division, its test classes are unseen
    seed = ["--split.seed", "5", "--model.fit", "pad"]
    assert main([*words, "--out", str(tmp_path / "divided"), *seed]) == 0
    assert "test classes, by their names: R@1 there is not that of unseen classes" in capsys.readouterr().out
    assert main([*words[:3], str(tmp_path / "divided"), *words[4:], "--out", str(tmp_path / "third")]) == 0
    assert runs.read_config(tmp_path / "third")["model"]["fit"] == "pad"
    assert main([*words, "--out", str(tmp_path / "cut"), "--model.dims", "[4, 8]"]) == 0
    assert runs.read_config(tmp_path / "cut")["model"]["dims"] == [4, 8]
    capsys.readouterr()
    assert main([*words, "--out", str(tmp_path / "longer"), "--model.dims", "[4, 128]"]) == 2
    assert "--model.dims ascend to --model.dim, got [4, 128] and 8: give [4, 8]" in capsys.readouterr().err
    assert main([*words, "--out", str(tmp_path / "other"), "--model.dim", "4"]) == 2
    told = capsys.readouterr()
    assert "has --model.dim 8, got 4: leave it out, or --init" in told.err
    assert told.out == ""


def test_the_folder_of_a_comparison_is_no_run(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "compared"
    folder.mkdir()
    runs.write_json(folder / runs.COMPARISON, {"arms": [{"runs": ["one"]}, {"runs": ["with-memory"]}]})
    shutil.copy(run / runs.CONFIG, folder)
    Image.new("L", (8, 8)).save(tmp_path / "x.png")
    image = str(tmp_path / "x.png")
    for words in (["evaluate", str(folder)], ["search", str(folder), image], ["train", "--resume", str(folder)]):
        assert main(words) == 2
        told = capsys.readouterr()
        assert "is a comparison, which holds several runs: name one, as" in told.err
        assert told.out == ""
