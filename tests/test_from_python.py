"""Tests of the commands called from Python, and of a user's own data set given by its import path."""

import json
from pathlib import Path

import pytest

import crossbatch
from crossbatch import runs
from crossbatch.__main__ import main
from crossbatch.errors import CrossBatchError

SMALL = {
    "batch": {"classes": 3, "images": 2},
    "model": {"dim": 8, "image_size": 16},
    "optim": {"steps": 4, "warmup": 1},
    "loop": {"check_every": 2, "accelerator": "cpu", "workers": 0},
    "drift": {"sample": 0},
}


def test_train_returns_what_the_json_says(pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "run"
    summary = crossbatch.train(pictures, out=out, loss="triplet", memory={"start": 1}, **SMALL)
    assert summary == {"run": str(out), **runs.read_json(out / "summary.json")}
    assert summary["loss"] == "triplet"
    assert set(summary["versions"]) == {"crossbatch", "torch", "torchvision", "timm", "lightning"}
    assert runs.read_config(out)["loss"]["init_args"] == {"room": 0.7, "weigh": "cost"}
    assert "of other classes" in capsys.readouterr().out


def test_compare_returns_its_table(pictures: Path, tmp_path: Path) -> None:
    loss = {"class_path": "ContrastiveLoss", "init_args": {"neg_margin": 0.4}}
    options = {"memory": {"start": 1}, "seeds": 1, "learning_rates": [0.001], "equal_time": False}
    result = crossbatch.compare(str(pictures), out=str(tmp_path / "out"), loss=loss, **options, **SMALL)
    assert [arm["name"] for arm in result["arms"]] == ["without memory", "with memory"]
    assert Path(result["report"]).is_file()


def test_one_value_is_taken_for_a_list_as_on_the_command_line(tmp_path: Path) -> None:
    with pytest.raises(
        CrossBatchError, match=r"--learning_rates are numbers above 0, as \[0.0003,0.001\], got \[0.0\]"
    ):
        crossbatch.compare(str(tmp_path), learning_rates=0.0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"optim": {"steps": -1}}, "--optim.steps takes a whole number of at least 1, got -1"),
        ({"optim": {"steps": "five"}}, "--optim.steps takes a whole number of at least 1, got five"),
        ({"optim": {"lr": "x"}}, "--optim.lr takes a number above 0, got x"),
        ({"colour": "red"}, "colour"),
        ({"loss": "nope"}, "there is no loss 'nope'"),
        ({"memory": None}, "--memory takes options by name, got nothing"),
        ({"config": Path("nope.yaml")}, "the options in nope.yaml cannot be read"),
        ({"loss": crossbatch.TripletLoss()}, "a loss is given by its name or class path"),
    ],
)
def test_what_cannot_work_is_refused_as_on_the_command_line(options: dict, message: str) -> None:
    with pytest.raises(CrossBatchError, match=message):
        crossbatch.train("photos", **options)


def test_a_place_that_cannot_be_made_is_told_as_on_the_command_line(pictures: Path) -> None:
    with pytest.raises(CrossBatchError, match="/proc/nosuch cannot be used"):
        crossbatch.train(pictures, out="/proc/nosuch/run", **SMALL)


OWN = """
import pathlib

from crossbatch.data.folder import load as load_folder

pathlib.Path("imported").touch()


def load(root, split=None):
    return load_folder(root / "deep", split)
"""


BAD = """
import torch
from crossbatch.data.data_set import DataSet, Part, Search
from crossbatch.data.folder import load as load_folder

def nothing(root, split):
    return 5

def unasked():
    return None

def listed(root, split):
    return sorted(root.glob("*"))

def changed(root, split, **parts):
    import dataclasses
    return dataclasses.replace(load_folder(root, split), **parts)

def short(root, split):
    return changed(root, split, train=Part(torch.arange(4) % 2, torch.arange(3)))

def beyond(root, split):
    return changed(root, split, train=Part(torch.zeros(4).long(), torch.arange(4) + 10**6))

def plain(root, split):
    return changed(root, split, tests={"test": Search(Part([0, 0], [0, 1]))})
"""


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("nothing", "returned int: it must return a crossbatch.data.data_set.DataSet"),
        ("unasked", "is called with (root, split), but does not take them (too many positional arguments)"),
        ("listed", "returned list: it must return"),
        ("short", "the training part of --data bad_data.short has 4 labels and 3 ids"),
        ("beyond", "has ids from 1000000 to 1000003: there are 72 images"),
        ("plain", "the test query part of --data bad_data.plain has labels that are no tensor int64 [images]"),
    ],
)
def test_a_data_set_of_ones_own_that_does_not_fit_gets_one_sentence(
    name: str,
    told: str,
    pictures: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("bad_data.py").write_text(BAD)
    monkeypatch.setattr("sys.path", __import__("sys").path[:])
    monkeypatch.delitem(__import__("sys").modules, "bad_data", raising=False)
    for command in (["train", str(pictures), "--out", "run"], ["inspect", str(pictures)]):
        assert main([*command, "--data", f"bad_data.{name}"]) == 2
        said = capsys.readouterr().err
        assert told in said
        assert said.count("\n") == 1
    assert not Path("run").exists()
    if name == "listed":
        assert main(["train", "--out", "run", "--data", "bad_data.listed"]) == 2
        said = capsys.readouterr().err
        assert "failed (AttributeError: 'NoneType' object has no attribute 'glob', in line 13 of" in said
        assert "it got no ROOT" in said


def test_a_data_set_of_ones_own_by_its_path(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The module is in the working directory. A run folder that names the module does not cause its import."""
    monkeypatch.chdir(tmp_path)
    Path("own_data.py").write_text(OWN)
    Path("photos").mkdir()
    Path("photos/deep").symlink_to(pictures)
    monkeypatch.setattr("sys.path", __import__("sys").path[:])
    words = [f"--{group}.{name}={value}" for group, values in SMALL.items() for name, value in values.items()]
    assert main(["train", "photos", "--data", "own_data.load", "--out", "run", *words, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["data"] == "folder"
    Path("imported").unlink()
    monkeypatch.delitem(__import__("sys").modules, "own_data")
    assert main(["evaluate", "run"]) == 2
    assert "was trained on a data set of your own: say --data own_data.load" in capsys.readouterr().err
    assert main(["train", "--resume", "run"]) == 2
    assert "names classes to import, own_data.load" in capsys.readouterr().err
    assert not Path("imported").exists()
    assert main(["evaluate", "run", "--data", "own_data.load"]) == 0
    assert main(["train", "--resume", "run", "--trust"]) == 0
    assert main(["inspect", "photos", "--data", "own_data.load"]) == 0
