"""Tests of the command line: what it refuses and how, what it prints where, and how little it imports."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

import crossbatch
from crossbatch import runs
from crossbatch.__main__ import main
from crossbatch.commands.compare import TRAINED_RATES, USUAL_RATES, spread
from crossbatch.commands.options import parse, parser_for, recipes, spelt
from crossbatch.errors import SettingError
from crossbatch.training import comparison

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
        (
            "train --model.image_size 4",
            "--model.image_size is a side of 8 to 4,096 pixels, as 224, or height and width",
        ),
        ("train --model.image_size 64x", "as 256x128; got 64x"),
        ("train --model.image_size -1", "8 to 4,096 pixels, as 224, or height and width, as 256x128; got -1"),
        ("train --model.background nope", "--model.background is a colour, as white, black or #8a8f98, got nope"),
        ("train --model.fit stretch", "--model.fit takes one of crop, pad, squash, got stretch"),
        ("train --model.pooling mean", "--model.pooling takes one of avg, max, gem, grid, got mean"),
        ("train --model.image_size 1000000", "--model.image_size is a side of 8 to 4,096 pixels"),
        ("train --model.dim 1000000000", "an embedding has 1 to 65,536 dimensions, got --model.dim 1000000000"),
        ("train --batch.images 3000000", "images fits nowhere: lower --batch.classes or --batch.images"),
        ("train --model.train_stages -1", "--model.train_stages takes a whole number that is not negative, got -1"),
        ("train --memory.size 32", "a memory of 32 rows is too small for batches of 64 images: raise --memory.size"),
        ("train --memory.weight -1", "--memory.weight takes a number that is not negative, got -1"),
        ("train --memory.size -1", "--memory.size takes a whole number that is not negative, got -1"),
        ("train --memory.start=soon", "--memory.start takes a whole number that is not negative, got soon"),
        ("train --memory.fill=maybe", "--memory.fill takes true or false, got maybe"),
        ("train --loss nope", "no loss 'nope': choose one of contrastive, triplet, multi-similarity"),
        ("train --loss=nope", "no loss 'nope': choose one of contrastive, triplet, multi-similarity"),
        ("train --loss contrastive --loss.neg_margin 1.5", "neg_margin is a cosine"),
        (
            "train --loss.colour 1.5",
            "SupConLoss has no option --loss.colour: --loss.help SupConLoss lists",
        ),
        ("train --optim.step 5", "unrecognized arguments: --optim.step: did you mean --optim.steps?"),
        ("train --loss.room much", "SupConLoss does not take this --loss.room: --loss.help SupConLoss"),
        ("train --loss torch.nn.Linear", "Linear needs --loss.in_features, --loss.out_features: --loss.help Linear"),
        ("compare --k 1 --k x", "--k takes a whole number, once each or as [a,b], got x"),
        ("train --batch.classes 5000", "take fewer classes (--batch.classes on"),
        ("train --batch.classes 0", "--batch.classes takes a whole number of at least 1, got 0"),
        ("train --optim.ema 1.5", "--optim.ema takes a number from 0 to 1, got 1.5"),
        ("train --optim.lr fast", "--optim.lr takes a number above 0, got fast"),
        ("train --optim.lr 0", "--optim.lr takes a number above 0, got 0"),
        ("train --optim.steps 0", "--optim.steps takes a whole number of at least 1, got 0"),
        ("train --optim.stpes 5", "unrecognized arguments: --optim.stpes: did you mean --optim.steps?"),
        ("train --banana red", "unrecognized arguments: --banana: see --help-all"),
        ("train --config EMPTY/none.yaml", "the options in EMPTY/none.yaml cannot be read (No such file"),
        ("train --config FORMAT.yaml", "FORMAT.yaml has format 9 and this version reads 1"),
        ("evaluate EMPTY --k few", "--k takes a whole number, once each or as [a,b], got few"),
        ("train --recipe nope", "no recipe 'nope': choose one of cars-"),
        ("train --data folder", "--data folder needs ROOT, a folder with one"),
        ("train EMPTY/none.parquet", "none.parquet does not exist: --data csv takes a .csv"),
        ("train EMPTY --data csv", "EMPTY is a folder: --data csv takes a .csv"),
        ("train --fonts a b", "not for folder: leave them out (--fonts is given once per place)"),
        ("train my_data.load", "my_data.load does not exist: --data folder takes a folder"),
        ("train --data my_data.load", "--data my_data.load cannot be imported"),
        ("train --data folder --root EMPTY", "no images in"),
        ("train --data csv --root EMPTY/bad.csv", "has no column path"),
        ("train --data nope", "no data set 'nope'"),
        ("compare --arms best.yaml", "--arms takes options by name, which a file of --config gives, got best.yaml"),
        ("train --out /proc/nosuch/run", "/proc/nosuch cannot be used (No such file or directory): name another"),
        ("train --loop.precision 16-mixed --loop.accelerator cpu", "16-mixed needs a GPU: on a CPU give bf16-mixed"),
        ("train --memory.weight 0 --memory.batch_weight 0", "leave nothing to train by once the memory counts"),
        ("train --out FULL", "is not empty: name another --out"),
        ("train --resume EMPTY", "is not a run folder"),
        ("train --resume NEW", "there is no run folder NEW: check its name"),
        ("tune --losses triplet,nca", "once each or as [a,b], got triplet,nca: write [triplet,nca]"),
        ("evaluate NEW", "there is no run folder NEW: check its name"),
        ("train --resume EMPTY --out NEW", "leave --out and --init out"),
        ("train --init EMPTY", "holds no trained model"),
        ("train --init FORMAT.yaml", "is a file, and holds no weights to train: name a run folder"),
        ("compare --memory.size 0", "compare needs a memory to compare with"),
        ("compare --out FULL", "is not empty: name another --out"),
        ("compare --seeds 0", "--seeds must be at least 1"),
        ("evaluate EMPTY", "is not a run folder"),
        ("evaluate EMPTY --on NEW", "there is no NEW"),
        (
            "evaluate EMPTY --on FULL --suspects 3",
            "--suspects is about the data set of the run: leave it out beside --on",
        ),
        ("report EMPTY", "EMPTY"),
        ("drift EMPTY", "is not a run folder"),
        ("train --drift.sample -1", "--drift.sample takes a whole number that is not negative, got -1"),
        ("inspect NEW", "NEW does not exist: --data folder takes a folder"),
        ("inspect --data folder --root NEW", "NEW does not exist"),
        ("inspekt", "no command 'inspekt': did you mean inspect? There are train, compare"),
        ("", "a command is missing: there are train,"),
    ],
)
def test_bad_input_gets_one_sentence_and_status_2(
    arguments: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("EMPTY").mkdir()
    Path("EMPTY/bad.csv").write_text("file,label\nx,y\n")
    Path("FORMAT.yaml").write_text("format: 9\nloss: contrastive\n")
    Path("FULL").mkdir()
    Path("FULL/precious").write_text("mine")
    before = sorted(tmp_path.rglob("*"))
    assert main(arguments.split()) == 2
    told = capsys.readouterr()
    assert message in told.err
    assert told.err.startswith("crossbatch: ")
    assert told.err.count("\n") == 1
    assert sorted(tmp_path.rglob("*")) == before


def test_without_test_classes_no_evaluation_is_proposed(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    all_of_it = ["--split.test_share", "0", "--split.validation_share", "0"]
    assert main(["train", str(pictures), "--out", str(tmp_path / "run"), *all_of_it, *SMALL]) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == f"next: crossbatch report {tmp_path / 'run'}; crossbatch serve {tmp_path / 'run'}"


def test_train_evaluate_report_and_resume(pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = str(tmp_path / "run")
    assert main(["train", "--data", "folder", "--root", str(pictures), "--out", run, *SMALL]) == 0
    told = capsys.readouterr().out
    assert "of other classes" in told
    assert f"data      {pictures.name} (fingerprint " in told
    assert main(["evaluate", run, "--json"]) == 0
    looked = json.loads(capsys.readouterr().out)
    assert looked["look"] == 1
    assert looked["data"] == runs.read_json(tmp_path / "run" / runs.DATA)["name"] == "folder"
    assert set(looked) >= {"R@1", "R@8", "MAP@R", "R-precision", "queries", "gallery", "fingerprint"}
    assert main(["evaluate", run, "--k", "[1,3]"]) == 0
    told = capsys.readouterr().out
    assert "look 2" in told
    assert f"{pictures.name} ({looked['fingerprint']}), test" in told
    assert main(["report", run]) == 0
    page = (tmp_path / "run" / "report.html").read_bytes()
    assert len(page) > 10_000
    assert main(["report", run, "--out", str(tmp_path / "pages" / "mine.html")]) == 0
    assert (tmp_path / "pages" / "mine.html").read_bytes() == page
    assert main(["report", run, "--out", str(tmp_path)]) == 2
    assert main(["export", run, "--format", "folder"]) == 0
    card = (tmp_path / "run" / "pretrained" / "README.md").read_text()
    assert f"`{pictures.name}`, fingerprint" in card
    assert str(pictures.parent) not in card
    assert main(["train", "--resume", run]) == 0
    again = str(tmp_path / "again")
    capsys.readouterr()
    assert main(["train", "--config", f"{run}/config.yaml", "--out", again, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["steps"] == 4
    assert runs.read_config(tmp_path / "again") == runs.read_config(tmp_path / "run")


def test_a_run_within_its_images_is_evaluated_and_resumed(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    photos = shutil.copytree(pictures, tmp_path / "photos")
    monkeypatch.chdir(photos)
    assert main(["train", ".", *SMALL]) == 0
    (run,) = Path("runs").iterdir()
    assert main(["evaluate", str(run)]) == 0
    assert main(["train", "--resume", str(run), "--optim.steps", "6", "--force"]) == 0
    assert "data fingerprint" not in capsys.readouterr().err
    assert runs.read_summary(run)["steps"] == 6
    assert main(["inspect", ".", "--json"]) == 0
    assert "not read: 1 × run folder" in json.loads(capsys.readouterr().out)["notes"]


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


def test_an_empty_word_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", ""]) == 2
    assert "one of the words is empty: is a variable of the shell not set?" in capsys.readouterr().err


def test_a_run_that_started_from_a_file_goes_on_without_it(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second, file = tmp_path / "first", tmp_path / "second", tmp_path / "first" / "model.safetensors"
    options = ["--data", "folder", "--root", str(pictures), *SMALL, "--model.pooling", "avg"]
    assert main(["train", *options, "--out", str(first)]) == 0
    chosen = ["--model.weights", str(file), "--model.train_stages", "1"]
    capsys.readouterr()
    assert main(["train", *options, "--out", str(second), *chosen]) == 0
    told = capsys.readouterr().out
    assert f"weights   20 of 20 tensors of the backbone from {file}; not used: head.bias, head.weight" in told
    file.unlink()
    assert main(["train", "--resume", str(second)]) == 0
    assert main(["evaluate", str(second)]) == 0
    kept = runs.read_config(second)
    assert (kept["model"]["weights"], kept["model"]["freeze_bn"], kept["optim"]["lr"]) == (str(file), True, 1e-4)
    assert main(["train", "--resume", str(second), "--force", "--optim.steps", "6", "--model.freeze_bn", "false"]) == 2
    told = capsys.readouterr().err
    assert "cannot go on with a changed option model.freeze_bn (True → False): leave that as it was" in told
    assert main(["train", "--resume", str(second), "--force", "--optim.steps", "6"]) == 0
    assert runs.read_config(second)["model"]["freeze_bn"] is True
    assert runs.read_summary(second)["steps"] == 6


def test_compare_prints_one_table_and_writes_the_report(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "comparison"
    options = ["--data", "folder", "--root", str(pictures), "--out", str(out), "--seeds", "2", *SMALL]
    assert main(["compare", *options, "--learning_rates", "[0.002]", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert [arm["name"] for arm in result["arms"]] == ["without memory", "without memory, equal time", "with memory"]
    assert Path(result["report"]).is_file()
    assert result["search"] == []
    assert {arm["lr"] for arm in result["arms"]} == {0.002}  # a single rate is used without a search


@pytest.mark.parametrize(
    ("options", "rates"),
    [([], USUAL_RATES), (["--optim.lr", "0.001"], [0.001]), (["--model.weights", "w.pth"], TRAINED_RATES)],
)
def test_a_learning_rate_that_is_given_is_not_searched_for(
    options: list[str],
    rates: list[float],
    pictures: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def remember(*_: object, learning_rates: list[float], **__: object) -> None:
        raise SettingError(f"rates {learning_rates}")

    monkeypatch.setattr(comparison, "compare", remember)
    monkeypatch.chdir(tmp_path)
    if options[:1] != ["--model.weights"]:
        with pytest.raises(SettingError, match=re.escape(f"rates {rates}")):
            crossbatch.compare(pictures, **({"optim": {"lr": 0.001}} if options else {}))
    assert main(["compare", str(pictures), *options]) == 2
    assert f"rates {rates}" in capsys.readouterr().err


def test_inspect_counts_and_draws(pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sheet = tmp_path / "new" / "sheet.png"
    assert main(["inspect", "--data", "folder", "--root", str(pictures), "--sheet", str(sheet), "--json"]) == 0
    counts = json.loads(capsys.readouterr().out)["parts"]
    assert sum(part["images"] for part in counts.values()) == 72
    assert sum(part["classes"] for part in counts.values()) == 12
    assert sheet.read_bytes().startswith(b"\x89PNG")
    assert main(["inspect", "--data", "folder", "--root", str(pictures)]) == 0
    assert f"{pictures.name} (fingerprint " in capsys.readouterr().out


def test_a_sheet_has_a_gap_for_what_cannot_be_read(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = shutil.copytree(pictures, tmp_path / "images")
    for file in root.rglob("0.png"):
        file.write_bytes(file.read_bytes()[:60])
    assert main(["inspect", str(root), "--sheet", str(tmp_path / "sheet.png")]) == 0
    with Image.open(tmp_path / "sheet.png") as sheet:
        first, second = (sheet.crop((left, 0, left + 66, 66)) for left in (sheet.width - 6 * 66, sheet.width - 5 * 66))
        assert first.getcolors() == [(66 * 66, (128, 128, 128))]
        assert len(second.getcolors(66 * 66) or []) > 1


def test_inspect_says_what_is_wrong(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CROSSBATCH_CACHE", str(tmp_path / "cache"))
    root = Path(shutil.copytree(pictures, tmp_path / "photos"))
    (root / "class 0" / "0.png").write_bytes(b"")
    whole = (root / "class 1" / "1.png").read_bytes()
    (root / "class 1" / "1.png").write_bytes(whole[: len(whole) // 2])
    (root / "class 3" / "copy.png").write_bytes((root / "class 2" / "0.png").read_bytes())
    smooth = Image.effect_mandelbrot((400, 400), (-2, -1.5, 1, 1.5), 50).convert("RGB")
    smooth.resize((64, 64)).save(root / "class 4" / "a.png")
    smooth.resize((160, 160)).save(root / "class 4" / "larger.jpg")
    assert main(["inspect", str(root), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [case[0] for case in found["problems"]["unreadable"]] == ["class 0/0.png"]
    assert found["problems"]["copies"] == [["class 2/0.png", "class 3/copy.png"]]
    assert any("copies byte for byte stand under more than one label" in note for note in found["notes"])
    assert main(["inspect", str(root), "--decode", "--near_copies", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["problems"]
    assert [case[0] for case in found["unreadable"]] == ["class 0/0.png", "class 1/1.png"]
    assert "incomplete" in found["unreadable"][1][1]
    assert ["class 4/a.png", "class 4/larger.jpg"] in found["near copies"]
    assert main(["inspect", str(root)]) == 0
    assert "unreadable: 2" in capsys.readouterr().out  # the earlier decode found it, and the result is cached


def test_a_table_shows_the_spread_over_seeds() -> None:
    assert spread([0.5]) == "0.5000"
    assert spread([0.4, 0.6]) == "0.5000 ± 0.1414"


@pytest.mark.parametrize("recipe", recipes())
def test_every_recipe_is_understood(recipe: str) -> None:
    """Every command that takes recipes parses each one, and ignores options that only another command has."""
    settings = parse("compare", ["--recipe", recipe])[0]["settings"]
    assert [parse(name, ["--recipe", recipe])[0]["settings"] for name in ("train", "tune")] == [settings] * 2
    assert settings.data == recipe.split("-", maxsplit=1)[0]
    assert settings.loss.name in ("contrastive", "multi-similarity", "sup-con")


def test_what_a_user_types_is_spelt_out() -> None:
    parser = parser_for("train")
    assert spelt(parser, ["--json", "--refit"]) == ["--json=true", "--refit=true"]
    assert spelt(parser, ["--json", "photos"]) == ["--json=true", "photos"]
    assert spelt(parser, ["--json", "false", "--memory.fill"]) == ["--json", "false", "--memory.fill=true"]
    assert spelt(parser, ["--fonts", "a", "--fonts", "b"]) == ["--fonts+", "a", "--fonts+", "b"]
    assert spelt(parser, ["--fonts", "[a, b]"]) == ["--fonts", "[a, b]"]
    assert spelt(parser, ["--loss", "triplet", "x"]) == ["--loss", "crossbatch.TripletLoss", "x"]


def options(*words: str) -> dict:
    return parse("train", words)[0]


def test_a_loss_by_its_name_its_class_or_its_options_alone() -> None:
    for name in ("nt-xent", "NTXentLoss", "crossbatch.NTXentLoss"):
        for words in (["--loss", name, "--loss.temperature", "0.2"], [f"--loss={name}", "--loss.temperature=0.2"]):
            loss = options(*words)["settings"].loss
            assert (loss.name, loss.init_args) == ("nt-xent", {"temperature": 0.2})
    assert options("--loss.temperature", "0.2")["settings"].loss.init_args == {"temperature": 0.2}


def test_what_the_root_is_names_the_data_set_unless_somebody_does(tmp_path: Path) -> None:
    root, table = str(tmp_path / "photos"), str(tmp_path / "photos.tsv")
    assert [options(*words)["settings"].data for words in ([], [root], [table], ["--root", root])] == [
        "glyphs",
        "folder",
        "csv",
        "folder",
    ]
    assert options(root, "--data", "cub")["settings"].data == "cub"
    assert options("--recipe", "sop-resnet50", root)["settings"].data == "sop"


def test_the_help_of_a_loss_says_what_a_command_starts_from(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--loss.help", "TripletLoss"]) == 0
    told = capsys.readouterr().out
    assert "A command starts from --loss.room 0.7, --loss.weigh cost; with --recommended false" in told
    assert main(["train", "--loss.help=multi-similarity"]) == 0
    assert "A command starts" not in capsys.readouterr().out


def test_paths_behind_two_dashes_may_begin_with_one() -> None:
    parsed, _ = parse("search", ["--top", "3", "--", "gallery", "-rf.jpg"])
    assert (parsed["gallery"], parsed["images"], parsed["top"]) == (Path("gallery"), [Path("-rf.jpg")], 3)


def test_a_working_directory_that_is_gone_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    assert main(["inspect"]) == 2
    assert "the working directory cannot be used" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["inspect", "ROOT", "--json"], ["train", "--loss.help", "TripletLoss"]])
def test_who_reads_the_output_may_go(pictures: Path, words: list[str]) -> None:
    """The reader of the output may close the pipe, as in `crossbatch … --json | true`."""
    command = [sys.executable, "-m", "crossbatch", *(str(pictures) if word == "ROOT" else word for word in words)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()
        told = process.stderr.read().decode()
    assert "Traceback" not in told
    assert process.returncode == 1


def test_help_fits_a_screen_and_all_of_it_can_be_had(capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("train", "compare", "tune", "evaluate", "drift", "report", "inspect"):
        assert main([command, "--help"]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert len(lines) <= (48 if command in ("compare", "tune") else 44)
        assert max(map(len, lines)) <= 100
        assert not any("no help" in line or "%" in line for line in lines)
    assert main(["train", "--help-all"]) == 0
    every = capsys.readouterr().out
    for option in ("--memory.stale STALE", "--loop.on_corrupt ON_CORRUPT", "--loss.help", "--recipe"):
        assert option in every
    for name in ("NTXentLoss", "nt-xent"):
        assert main(["train", "--loss.help", name]) == 0
        assert "T; the lower, the more the nearest negatives count." in capsys.readouterr().out


def imported_by(code: str) -> set[str]:
    listing = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys; print(*sys.modules)"], capture_output=True, text=True, check=True
    )
    return {name.split(".")[0] for name in listing.stdout.splitlines()[-1].split()}


def test_import_needs_torch_and_jaxtyping_only() -> None:
    heavy = {"torch", "jaxtyping", "lightning", "timm", "torchvision", "PIL", "jsonargparse", "rich", "yaml"}
    assert not imported_by("import crossbatch") & heavy
    images = ("Encoder",)  # these work with images, which need more packages
    named = f"name[0].isupper() and name not in {images}"
    core = f"import crossbatch; [getattr(crossbatch, name) for name in crossbatch.__all__ if {named}]"
    assert imported_by(core) - imported_by("import torch, jaxtyping") == {"crossbatch"}


@pytest.mark.parametrize("words", [["--help"], ["--version"], ["trian"]])
def test_what_needs_no_torch_does_not_wait_for_it(words: list[str]) -> None:
    assert "torch" not in imported_by(f"from crossbatch.__main__ import main\nmain({words})")


@pytest.mark.parametrize("asked", ["--help", "--help-all"])
def test_the_help_of_a_command_imports_nothing_heavy(asked: str) -> None:
    every = f"assert not any([main([name, '{asked}']) for name in COMMANDS])"
    loaded = imported_by(f"from crossbatch.__main__ import COMMANDS, main\n{every}")
    assert not loaded & {"torch", "lightning", "timm", "torchvision", "matplotlib", "tensorboard", "PIL", "pymilvus"}


def test_suspicious_labels_are_listed_and_shown(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = str(tmp_path / "run")
    assert main(["train", str(pictures), "--out", run, *SMALL]) == 0
    capsys.readouterr()
    assert main(["evaluate", run, "--suspects", "5", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert len(found["suspects"]) <= 5
    for row in found["suspects"]:
        assert row["label"] != row["neighbours say"]
    assert main(["evaluate", run, "--suspects", "5"]) == 0
    assert main(["report", run]) == 0
    page = (tmp_path / "run" / "report.html").read_text()
    assert ("Suspicious labels" in page) == bool(found["suspects"])
    thumbnails = list((tmp_path / "run" / "examples" / "test").glob("*.png"))
    assert thumbnails
    for file in thumbnails:
        with Image.open(file) as image:
            assert not image.getexif()


def test_recall_at_one_is_always_measured_and_a_bad_k_costs_no_look(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = str(tmp_path / "run")
    assert main(["train", str(pictures), "--out", run, *SMALL]) == 0
    assert main(["evaluate", run, "--k", "5"]) == 0
    capsys.readouterr()
    assert main(["evaluate", run, "--k", "5", "--json"]) == 0
    looked = json.loads(capsys.readouterr().out)
    assert [name for name in looked if name.startswith("R@")] == ["R@1", "R@5"]
    assert [name for name in looked["before_training"] if name.startswith("R@")] == ["R@1", "R@5"]
    monkeypatch.setattr("crossbatch.training.evaluation.search_run", lambda *_: pytest.fail("looked at test"))
    assert main(["evaluate", run, "--k", "0"]) == 2
    assert "Recall@K needs K of at least 1, got [0]" in capsys.readouterr().err
    assert len(runs.read_evaluations(tmp_path / "run")) == 2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--force", "--force is for a run that goes on: give --resume RUN beside it, or leave it out"),
        ("--trust", "--trust is for a run that goes on: give --resume RUN beside it, or leave it out"),
        ("--init RUN --model.weights w.pth", "--init and --model.weights both say what to start from: give one"),
    ],
)
def test_what_a_new_run_does_not_take_is_refused(
    words: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", str(tmp_path / "none"), "--out", str(tmp_path / "run"), *words.split()]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_commands_that_are_told_can_be_pasted_where_a_folder_has_spaces(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "c mit Ümläut"
    assert main(["train", str(pictures), "--out", str(run), *SMALL]) == 0
    *_, told = capsys.readouterr().out.splitlines()
    assert told == f"next: crossbatch evaluate '{run}'; crossbatch report '{run}'; crossbatch serve '{run}'"


def test_the_drift_of_what_is_no_run_is_no_matter_of_options(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["drift", str(tmp_path)]) == 2
    assert f"{tmp_path} is not a run folder" in capsys.readouterr().err
    (tmp_path / runs.CONFIG).write_text("data: folder\n")
    assert main(["drift", str(tmp_path)]) == 2
    assert "holds no drift.csv: drift is measured every 100 steps" in capsys.readouterr().err
