"""Tests of options on the command line, in a file and in Python: precedence, spelling, and what is refused."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from crossbatch import TripletLoss
from crossbatch.__main__ import main
from crossbatch.commands.options import parse
from crossbatch.errors import CrossBatchError, RunError, SettingError
from crossbatch.training.settings import LossSettings, Settings

FILE = "root: a\noptim: {steps: 7, milestones: [2]}\nlearning_rates: [0.001]\nk: [3]\nmodel: {dims: [4]}\n"


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    Path("file.yaml").write_text(FILE)
    return "file.yaml"


def options(command: str, words: str) -> dict[str, Any]:
    return parse(command, words.split())[0]


@pytest.mark.parametrize("named", ["--config file.yaml", "--config=file.yaml"])
@pytest.mark.parametrize("root", ["b", "--root b", "--root=b"])
def test_what_is_typed_wins_wherever_the_file_stands(named: str, root: str, file: str) -> None:
    for words in (
        f"{root} --optim.steps 9 {named}",
        f"--optim.steps 9 {named} {root}",
        f"{named} {root} --optim.steps=9",
    ):
        settings = options("train", words)["settings"]
        assert (settings.root, settings.optim.steps, settings.optim.milestones) == (Path("b"), 9, [2])


def test_of_several_files_the_last_wins(file: str) -> None:
    Path("other.yaml").write_text("optim: {steps: 8}\n")
    assert options("train", f"b --config {file} --config other.yaml")["settings"].optim.steps == 8
    assert options("train", f"b --config other.yaml --refit --config {file}")["settings"].optim.steps == 7


@pytest.mark.parametrize("words", ["--config file.yaml {}", "{} --config file.yaml"])
def test_a_list_that_is_typed_replaces_that_of_a_file(words: str, file: str) -> None:
    found = options("compare", words.format("--learning_rates 0.003 --k 5 --k [6,7] --model.dims 8"))
    assert (found["learning_rates"], found["k"], found["settings"].model.dims) == ([0.003], [5, 6, 7], [8])
    assert options("compare", f"--config {file}")["k"] == [3]


def test_values_of_a_list_add_up_in_order() -> None:
    for words in ("--k 5 --k [1,10]", "--k=5 --k=[1,10]", "--k [5,1] --k=10"):
        assert options("compare", words)["k"] == [5, 1, 10]
    found = options("search", "g --id=abc --label=-x --label=y x.png")
    assert (found["id"], found["label"], found["images"]) == (["abc"], ["-x", "y"], [Path("x.png")])
    assert options("train", "--fonts=/a --fonts /b")["settings"].fonts == [Path("/a"), Path("/b")]
    assert options("compare", "--learning_rates=0.003")["learning_rates"] == [0.003]


@pytest.mark.parametrize("word", ["false", "False", "no", "NO", "off"])
def test_a_switch_takes_any_spelling(word: str) -> None:
    for words in (f"photos --memory.follow {word}", f"--memory.follow={word} photos"):
        settings = options("train", words)["settings"]
        assert (settings.root, settings.memory.follow) == (Path("photos"), False)
    found = options("embed", f"run photos --half {word}")
    assert (found["images"], found["half"]) == ([Path("photos")], False)


def test_a_switch_stands_alone_even_where_it_may_be_left_open() -> None:
    for words in ("--loop.channels_last", "--loop.channels_last photos", "--loop.channels_last Yes"):
        assert options("train", words)["settings"].loop.channels_last is True
    assert options("train", "--loop.channels_last null")["settings"].loop.channels_last is None


NAMES = {
    "settings: {seed: 1}": "unrecognized arguments: --settings.seed: see --help-all",
    "console: 1": "unrecognized arguments: --console: see --help-all",
    "optim: {stpes: 1}": "unrecognized arguments: --optim.stpes: did you mean --optim.steps?",
    "memory:": "--memory takes options by name, got nothing: give it, or leave it out",
    "memory: 5": "--memory takes options by name, got 5",
    "loss:": "--loss takes a name or a class path, got nothing: give it, or leave it out",
    "loss: {class_path: crossbatch.TripletLoss, init_args: }": "--loss takes a name or a class path, and its options",
    "model: {background: }": "--model.background takes a word, got nothing: give it, or leave it out",
    "split: {seed: null}": "--split.seed takes a whole number, got nothing",
    "fonts:": "--fonts takes a path, once each or as [a,b], got nothing",
    "optim: {lr: .inf}": "--optim.lr takes a finite number, got inf",
    "augment: none": "--augment takes options by name, got none",
    "optim: [1]": "--optim takes options by name, got [1]",
    "seed: 1\noptim: {steps: 3": "file.yaml cannot be read (line 2 is not YAML: expected ',' or '}'",
    "seed: 1\n\tout: x": "file.yaml cannot be read (line 2 is not YAML: found character",
    "steps: 3": "unrecognized arguments: --steps: did you mean --optim.steps?",
    "split: {test_share: .nan}": "--split.test_share takes a finite number, got nan",
}


@pytest.mark.parametrize("contents", NAMES)
def test_what_cannot_work_in_a_file_gets_one_sentence(
    contents: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file.yaml").write_text(contents)
    assert main(["train", "--config", "file.yaml"]) == 2
    told = capsys.readouterr().err
    assert told.startswith(f"crossbatch: {NAMES[contents]}")
    assert told.count("\n") == 1
    assert [one.name for one in tmp_path.iterdir()] == ["file.yaml"]


def test_a_file_may_name_a_loss_by_its_short_name(tmp_path: Path) -> None:
    file = tmp_path / "file.yaml"
    file.write_text("loss: {class_path: triplet, init_args: {margin: 0.33}}\n")
    given = options("train", "--loss triplet --loss.margin 0.33")["settings"]
    assert options("train", f"--config {file}")["settings"].loss == given.loss


@pytest.mark.parametrize("another", ["--loss contrastive", "--loss=contrastive", "--loss.class_path contrastive"])
def test_another_loss_than_that_of_a_file_has_its_recommended_options(another: str, tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    kept = Settings(loss=LossSettings.named("sup-con", temperature=0.2)).resolved().as_dict()
    file.write_text(yaml.safe_dump({**kept, "optim": {"steps": 7}}))
    found = options("train", f"{another} --config {file}")["settings"]
    assert (found.loss, found.recommended, found.optim.steps) == (LossSettings.named("contrastive"), True, 7)
    found = parse("train", {"config": file, "loss": "contrastive"})[0]["settings"]
    assert (found.loss, found.recommended) == (LossSettings.named("contrastive"), True)
    for same in ("", "--loss sup-con"):
        found = options("train", f"--config {file} {same}")["settings"]
        assert (found.loss.init_args["temperature"], found.recommended) == (0.2, False)
    found = options("train", f"--config {file} {another} --loss.room 0.5 --recommended false")["settings"]
    assert (found.loss, found.recommended) == (LossSettings.named("contrastive", room=0.5), False)


def test_a_recipe_with_another_loss_keeps_to_the_paper() -> None:
    found = options("train", "--recipe sop-resnet50 --loss triplet")["settings"]
    assert (found.loss.name, found.recommended) == ("triplet", False)


def test_what_may_be_left_open_may_be_empty_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "file.yaml"
    file.write_text("root:\nout: null\nbatch: {classes: }\nloop: {channels_last: }\n")
    assert options("train", f"--config {file}")["settings"] == options("train", "")["settings"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("train --seed 100000000000000000000000", "--seed takes a whole number between -2**63 and 2**63, got 1000"),
        ("inspect --split.seed -100000000000000000000000", "--split.seed takes a whole number between -2**63 and"),
        ("train --optim.lr inf", "--optim.lr takes a finite number, got inf"),
        ("train --memory.weight=inf", "--memory.weight takes a finite number, got inf"),
        ("drift run --threshold .inf", "--threshold takes a finite number, got inf"),
        ("compare --learning_rates [0.001,.inf]", r"--learning_rates takes a finite number, got \[0.001, inf\]"),
        ("tune --learning_rates [.nan,1]", r"--learning_rates takes a finite number, got \[nan, 1.0\]"),
        ("train --loop.check_every 0", "--loop.check_every takes a whole number of at least 1, got 0"),
        ("inspect --augment.crop_ratio 0.5", "--augment.crop_ratio takes a number of at least 1, got 0.5"),
        ("compare --k=x", "--k takes a whole number, once each or as .a,b., got x"),
        ("train --refit null", "--refit takes true or false, got None"),
    ],
)
def test_what_no_option_takes_is_refused(words: str, message: str) -> None:
    command, *rest = words.split()
    with pytest.raises(SettingError, match=message.replace("**", r"\*\*")):
        parse(command, rest)


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        ("train --lr 0.01", "did you mean --optim.lr?"),
        ("train --steps 300", "did you mean --optim.steps?"),
        ("train --epochs=3", "did you mean --optim.steps?"),
        ("train --batch_size 32", "did you mean --batch.classes?"),
        ("train --learning_rate 0.1", "did you mean --optim.lr?"),
        ("compare --learning_rate 0.1", "did you mean --learning_rates?"),
        ("train --image_size 32", "did you mean --model.image_size?"),
        ("serve run --prot 9", "did you mean --port?"),
        ("serve run --epochs 9", "see --help-all"),
        ("train --banana red", "see --help-all"),
        ("train --colour red", "did you mean --augment.colour?"),
    ],
)
def test_an_unknown_name_leads_to_the_option_that_is_meant(words: str, hint: str) -> None:
    command, *rest = words.split()
    with pytest.raises(SettingError, match=r"^unrecognized arguments: --") as told:
        parse(command, rest)
    assert str(told.value).endswith(f": {hint}")


@pytest.mark.parametrize(
    ("name", "told"), [("sop-resnet50", "--recipe sop-resnet50 takes"), ("sop", "--recipe takes cars")]
)
def test_a_recipe_that_is_given_as_a_file_is_told(name: str, told: str, file: str) -> None:
    with pytest.raises(SettingError, match=f"there is no file of options {name}: {told}"):
        parse("train", ["--config", name])
    with pytest.raises(SettingError, match=f"there is no file of options {name}: {told}"):
        parse("train", {"config": name})


def test_numbers_are_plain_ones() -> None:
    assert type(options("tune", "--minutes 5")["minutes"]) is float
    assert type(options("search", "g --top 5")["top"]) is int


def test_options_of_a_group_that_are_left_out_are_as_the_command_has_them() -> None:
    assert not options("inspect", "--split.seed 3")["split"].complete
    assert options("inspect", "--split.complete true")["split"].complete


def test_a_file_in_python_lies_beneath_what_is_given(file: str) -> None:
    """Given options override the file, as on the command line. The file may have options of other commands."""
    found = parse("train", {"config": file, "root": "b", "optim": {"lr": 0.1}})[0]["settings"]
    assert (found.root, found.optim.steps, found.optim.lr) == (Path("b"), 7, 0.1)
    found = parse("compare", {"k": [5], "config": Path(file), "loss": "triplet"})[0]
    assert (found["k"], found["settings"].loss.name) == ([5], "triplet")
    given = {"recipe": "sop-resnet50", "memory": {"size": 0}}
    words = ["--memory.size", "0", "--recipe", "sop-resnet50"]
    assert parse("train", given)[0]["settings"] == parse("train", words)[0]["settings"]
    for nothing in ({"config": None, "root": None}, {"memory": {}}):
        assert parse("train", nothing)[0]["settings"] == parse("train", [])[0]["settings"]


@pytest.mark.parametrize(
    ("given", "kind", "message"),
    [
        ({"memory": None}, SettingError, "--memory takes options by name, got nothing"),
        ({"memory": 0}, SettingError, "--memory takes options by name, got 0"),
        ({"optim": {"steps": None}}, SettingError, "--optim.steps takes a whole number of at least 1, got nothing"),
        ({"config": "nope.yaml"}, RunError, "the options in nope.yaml cannot be read"),
        ({"recipe": "nope"}, SettingError, "there is no recipe 'nope': choose one of"),
        ({"loss": TripletLoss()}, SettingError, "got a TripletLoss: give loss={'class_path': 'crossbatch.losses"),
        ({"loss": TripletLoss}, SettingError, "a loss is given by its name or class path"),
        ({"loss": None}, SettingError, "--loss takes a name or a class path, got nothing"),
        ({"seed": 10**23}, SettingError, "--seed takes a whole number between"),
        ({"console": 1}, SettingError, "unrecognized arguments: console=…: crossbatch train --help-all lists the"),
        ({"steps": 3}, SettingError, r"unrecognized arguments: steps=…: did you mean optim={'steps': …}\?"),
        ({"optim": {"stpes": 3}}, SettingError, r"optim={'stpes': …}: did you mean optim={'steps': …}\?"),
        ({"losss": "nca"}, SettingError, r"unrecognized arguments: losss=…: did you mean loss=…\?"),
        ({"augment": "none"}, SettingError, "--augment takes options by name, got none"),
    ],
)
def test_what_cannot_work_in_python_gets_one_sentence(given: dict, kind: type[CrossBatchError], message: str) -> None:
    with pytest.raises(kind, match=message):
        parse("train", given)
