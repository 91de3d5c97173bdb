"""The command line as a person meets it: what is refused and how, what is printed where, how light it is."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from crossbatch import runs
from crossbatch.__main__ import COMMANDS, command_parser, main, recipe_path, recipes, spell_out
from crossbatch.commands.compare import spread

SMALL = [
    "--batch.classes",
    "3",
    "--batch.images",
    "2",
    "--model.dim",
    "8",
    "--model.image_size",
    "16",
    "--optim.steps",
    "4",
    "--optim.warmup",
    "1",
    "--memory.start",
    "1",
    "--loop.check_every",
    "2",
    "--loop.accelerator",
    "cpu",
    "--loop.workers",
    "0",
]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("train --model.backbone resnet5O", "no backbone 'resnet5O': did you mean resnet50"),
        ("train --model.pooling mean", "model.pooling"),
        ("train --model.train_stages -1", "--model.train_stages must not be negative, got -1"),
        ("train --memory.size 32", "a memory of 32 rows is too small for batches of 64 images: raise --memory.size"),
        ("train --memory.weight -1", "--memory.weight must not be negative, got -1.0"),
        ("train --loss nope", "no loss 'nope': choose one of contrastive, triplet, multi-similarity"),
        ("train --loss_options.neg_margin 1.5", "neg_margin is a cosine"),
        ("train --loss_options.colour 1.5", "the contrastive loss does not take --loss_options"),
        ("train --batch.classes 5000", "lower --batch.classes"),
        ("train --optim.lr fast", "optim.lr"),
        ("train --colour red", "unrecognized arguments: --colour red"),
        ("train --recipe nope", "no recipe 'nope': choose one of cars-"),
        ("train --data folder", "--data folder needs --root"),
        ("train --data folder --root EMPTY", "no images in"),
        ("train --data csv --root EMPTY/bad.csv", "has no column path"),
        ("train --data nope", "no data set 'nope'"),
        ("train --out FULL", "is not empty: name another --out"),
        ("train --resume EMPTY", "is not a run folder"),
        ("train --resume EMPTY --out NEW", "leave --out and --init out"),
        ("train --init EMPTY", "holds no trained model"),
        ("compare --memory.size 0", "compare needs a memory to compare with"),
        ("compare --out FULL", "is not empty: name another --out"),
        ("compare --seeds 0", "--seeds must be at least 1"),
        ("evaluate EMPTY", "is not a run folder"),
        ("report EMPTY", "EMPTY"),
        ("drift EMPTY", "holds no drift.csv: train with --drift.sample"),
        ("train --drift.sample -1", "--drift.sample must not be negative"),
        ("inspect --data folder --root NEW", "--data folder needs --root"),
        ("", "subcommand"),
    ],
)
def test_bad_input_gets_one_sentence_and_status_2(
    arguments: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("EMPTY").mkdir()
    Path("EMPTY/bad.csv").write_text("file,label\nx,y\n")
    Path("FULL").mkdir()
    Path("FULL/precious").write_text("mine")
    before = sorted(tmp_path.rglob("*"))
    assert main(arguments.split()) == 2
    told = capsys.readouterr()
    assert message in told.err
    assert told.err.startswith("crossbatch: ")
    assert told.err.count("\n") == 1
    assert sorted(tmp_path.rglob("*")) == before


def test_train_evaluate_report_and_resume(pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = str(tmp_path / "run")
    assert main(["train", "--data", "folder", "--root", str(pictures), "--out", run, *SMALL]) == 0
    assert "negatives per anchor" in capsys.readouterr().out
    assert main(["evaluate", run, "--json"]) == 0
    looked = json.loads(capsys.readouterr().out)
    assert looked["look"] == 1
    assert set(looked) >= {"R@1", "R@8", "MAP@R", "R-precision", "queries", "gallery", "fingerprint"}
    assert main(["evaluate", run, "--k", "[1,3]"]) == 0
    assert "look 2" in capsys.readouterr().out
    assert main(["report", run]) == 0
    assert (tmp_path / "run" / "report.html").stat().st_size > 10_000
    assert main(["train", "--resume", run]) == 0
    again = str(tmp_path / "again")
    capsys.readouterr()
    assert main(["train", "--config", f"{run}/config.yaml", "--out", again, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["steps"] == 4
    assert runs.read_config(tmp_path / "again") == runs.read_config(tmp_path / "run")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--model.weights", "gone.pth"], "there is no file gone.pth: give --model.weights the path of"),
        (
            ["--model.weights", "notes.txt"],
            "--model.weights takes files in .safetensors, .pth, .pt, .bin, got notes.txt",
        ),
        (["--model.weights", "empty.pth"], "empty.pth"),
        (["--model.train_stages", "9"], "small has 4 stages: --model.train_stages takes 0 to 4"),
        (["--model.backbone", "test_vit", "--model.pooling", "gem"], "--model.pooling pools maps"),
        (["--model.backbone", "bn_inception", "--model.pretrained", "true"], "bn_inception has no weights on a hub"),
    ],
)
def test_a_network_that_cannot_be_made_gets_one_sentence(
    options: list[str],
    message: str,
    pictures: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("notes.txt", "empty.pth"):
        Path(name).touch()
    assert main(["train", "--data", "folder", "--root", str(pictures), "--out", "run", *SMALL, *options]) == 2
    told = capsys.readouterr().err
    assert message in told
    assert told.count("\n") == 1
    assert not Path("run").exists()


def test_a_run_that_started_from_a_file_goes_on_without_it(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second, file = tmp_path / "first", tmp_path / "second", tmp_path / "first" / "model.safetensors"
    options = ["--data", "folder", "--root", str(pictures), *SMALL]
    assert main(["train", *options, "--out", str(first)]) == 0
    chosen = ["--model.weights", str(file), "--model.train_stages", "1", "--model.freeze_bn", "true"]
    capsys.readouterr()
    assert main(["train", *options, "--out", str(second), *chosen]) == 0
    told = capsys.readouterr().out
    assert f"weights   20 of 20 tensors of the backbone from {file}; not used: head.bias, head.weight" in told
    file.unlink()
    assert main(["train", "--resume", str(second)]) == 0
    assert main(["evaluate", str(second)]) == 0
    assert runs.read_config(second)["model"]["weights"] == str(file)


def test_compare_prints_one_table_and_writes_the_report(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "comparison"
    options = ["--data", "folder", "--root", str(pictures), "--out", str(out), "--seeds", "2", *SMALL]
    assert main(["compare", *options, "--learning_rates", "[0.001]", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert [arm["name"] for arm in result["arms"]] == ["without memory", "without memory, equal time", "with memory"]
    assert Path(result["report"]).is_file()
    assert result["search"] == []


def test_inspect_counts_and_draws(pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sheet = tmp_path / "new" / "sheet.png"
    assert main(["inspect", "--data", "folder", "--root", str(pictures), "--sheet", str(sheet), "--json"]) == 0
    counts = json.loads(capsys.readouterr().out)["parts"]
    assert sum(part["images"] for part in counts.values()) == 72
    assert sum(part["classes"] for part in counts.values()) == 12
    assert sheet.read_bytes().startswith(b"\x89PNG")
    assert main(["inspect", "--data", "folder", "--root", str(pictures)]) == 0
    assert "fingerprint" in capsys.readouterr().out


def test_a_table_shows_the_spread_over_seeds() -> None:
    assert spread([0.5]) == "0.5000"
    assert spread([0.4, 0.6]) == "0.5000 ± 0.1414"


@pytest.mark.parametrize("recipe", recipes())
def test_every_recipe_is_understood(recipe: str) -> None:
    """By both commands that take one, save for options that only compare has."""
    parsed = command_parser("compare", COMMANDS["compare"]).parse_args(["--config", recipe_path(recipe)])
    assert parsed.data == recipe.split("-", maxsplit=1)[0]
    assert parsed.loss in ("contrastive", "multi-similarity")


def test_flags_and_recipes_are_spelt_out() -> None:
    assert spell_out(["train", "--json", "--refit"]) == ["train", "--json", "true", "--refit", "true"]
    assert spell_out(["train", "--json", "false"]) == ["train", "--json", "false"]
    path = recipe_path("glyphs-demo")
    assert spell_out(["train", "--recipe", "glyphs-demo"]) == ["train", "--config", path]
    assert spell_out(["train", "--recipe=glyphs-demo"]) == ["train", "--config", path]
    assert spell_out(["train", "--recipe"]) == ["train", "--recipe"]
    assert spell_out(["inspect", "--fonts", "a", "b", "--json"]) == [
        "inspect",
        "--fonts",
        '["a", "b"]',
        "--json",
        "true",
    ]
    assert spell_out(["inspect", "--fonts", "[a, b]"]) == ["inspect", "--fonts", "[a, b]"]


def imported_by(code: str) -> set[str]:
    listing = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys; print(*sys.modules)"], capture_output=True, text=True, check=True
    )
    return {name.split(".")[0] for name in listing.stdout.split()}


def test_import_needs_torch_and_jaxtyping_only() -> None:
    heavy = {"lightning", "timm", "torchvision", "matplotlib", "PIL", "jsonargparse", "rich", "safetensors", "yaml"}
    extra = imported_by("import crossbatch") - imported_by("import torch, jaxtyping")
    assert extra & heavy == set()
    assert extra == {"crossbatch"}


def test_help_imports_nothing_heavy() -> None:
    """The time of `--help` is that of torch and a parser; what would lengthen it is a package imported early."""
    loaded = imported_by("from crossbatch.__main__ import main\ntry: main(['--help'])\nexcept SystemExit: pass")
    assert not loaded & {"lightning", "timm", "torchvision", "matplotlib", "tensorboard"}
