"""The commands called from Python, and a data set of one's own by its path."""

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
    assert "negatives per anchor" in capsys.readouterr().out


def test_compare_returns_its_table(pictures: Path, tmp_path: Path) -> None:
    loss = {"class_path": "ContrastiveLoss", "init_args": {"neg_margin": 0.4}}
    options = {"memory": {"start": 1}, "seeds": 1, "learning_rates": [0.001], "equal_time": False}
    result = crossbatch.compare(str(pictures), out=str(tmp_path / "out"), loss=loss, **options, **SMALL)
    assert [arm["name"] for arm in result["arms"]] == ["without memory", "with memory"]
    assert Path(result["report"]).is_file()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"optim": {"steps": -1}}, "--optim.steps takes a whole number of at least 1, got -1"),
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


OWN = """
import pathlib

from crossbatch.data.folder import load as load_folder

pathlib.Path("imported").touch()


def load(root, split=None):
    return load_folder(root / "deep", split)
"""


def test_a_data_set_of_ones_own_by_its_path(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The module lies in the working directory; a run folder that names it does not import it."""
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
