"""Tests of a folder in the layout of model hubs: it loads by its path, and its card says where the model comes from."""

import sys
from pathlib import Path

import huggingface_hub
import numpy as np
import pytest
import yaml
from encoder.conftest import write_run

import crossbatch
from crossbatch import Encoder
from crossbatch.__main__ import main
from crossbatch.encoder import hub
from crossbatch.errors import MissingExtraError, RunError


def test_what_is_saved_loads_with_the_same_rows(tmp_path: Path, run: Path, odd_files: list[Path]) -> None:
    model = crossbatch.load(run)
    folder = model.save_pretrained(tmp_path / "saved")
    assert sorted(file.name for file in folder.iterdir()) == ["README.md", "config.json", "model.safetensors"]
    again = Encoder.from_pretrained(folder)
    assert np.array_equal(again.embed(odd_files), model.embed(odd_files))
    assert again.fingerprint == model.fingerprint
    twice = again.save_pretrained(tmp_path / "twice")
    assert (twice / "README.md").read_text() == (folder / "README.md").read_text()
    again.save_pretrained(folder)  # into the folder that it was loaded from


def test_the_card_has_metrics_before_and_after_and_no_path_of_a_machine(tmp_path: Path, run: Path) -> None:
    card = (crossbatch.load(run).save_pretrained(tmp_path / "saved") / "README.md").read_text()
    _, front, body = card.split("---\n", 2)
    metadata = yaml.safe_load(front)
    assert metadata["library_name"] == "crossbatch"
    (result,) = metadata["model-index"][0]["results"]
    assert result["metrics"] == [{"type": "R@1", "value": 0.5}, {"type": "MAP@R", "value": 0.25}]
    assert "| validation | R@1 | 0.2500 | 0.7500 |" in body
    assert "| test (12 queries) | R@1 | 0.1250 | 0.5000 |" in body
    assert "fingerprint `0a0b0c0d`" in body
    assert "root: pictures\n" in body
    assert "/home/somebody" not in card
    assert "torch 2.14" in body


def test_a_folder_with_other_files_is_refused(tmp_path: Path, run: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(RunError, match=r"holds other files, such as notes.txt: name a new folder"):
        crossbatch.load(run).save_pretrained(tmp_path)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["notes.txt", "run"]


def test_another_model_is_not_written_over(tmp_path: Path, run: Path) -> None:
    folder = crossbatch.load(run).save_pretrained(tmp_path / "saved")
    (folder / "README.md").write_text("by hand")
    bare = crossbatch.load(run).save_pretrained(tmp_path / "bare")
    (bare / "README.md").unlink()
    crossbatch.load(bare).save_pretrained(folder)  # the same model may be saved over
    assert (folder / "README.md").read_text() == "by hand"
    other = crossbatch.load(write_run(tmp_path / "other", seed=1))
    for change in ("none", "strange config", "no config"):
        if change == "strange config":
            (folder / "config.json").write_text('{"model_type": "bert"}')
        if change == "no config":
            (folder / "config.json").unlink()
        before = {file.name: file.read_bytes() for file in folder.iterdir()}
        with pytest.raises(RunError, match="holds another model: name another folder, or remove it"):
            other.save_pretrained(folder)
        assert {file.name: file.read_bytes() for file in folder.iterdir()} == before


def test_export_writes_over_no_other_model(tmp_path: Path, run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = write_run(tmp_path / "other", seed=1)
    to = ["--format", "folder", "--out", str(tmp_path / "saved")]
    assert [main(["export", str(one), *to]) for one in (run, run, other)] == [0, 0, 2]
    assert "saved holds another model: name another folder, or remove it" in capsys.readouterr().err
    assert crossbatch.load(tmp_path / "saved").fingerprint == crossbatch.load(run).fingerprint


def test_export_of_what_is_no_run_asks_where_to_write(
    tmp_path: Path, run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = crossbatch.load(run).save_pretrained(tmp_path / "saved")
    monkeypatch.setattr(hub, "fetched", lambda _: folder)
    monkeypatch.chdir(tmp_path)
    for words in (["saved", "--format", "folder"], ["hf://somebody/model"]):
        assert main(["export", *words]) == 2
        assert "is no run folder: say with --out where to write" in capsys.readouterr().err
    assert sorted(one.name for one in tmp_path.iterdir()) == ["run", "saved"]


def test_the_hub_is_asked_by_its_scheme_alone(tmp_path: Path, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = crossbatch.load(run).save_pretrained(tmp_path / "saved")
    asked: list[tuple[str, list[str]]] = []

    def download(name: str, *, allow_patterns: list[str]) -> str:
        asked.append((name, allow_patterns))
        if name == "somebody/gone":
            raise OSError("404: not found\nand more")
        return str(folder)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    monkeypatch.setattr("crossbatch.models.hub_cache._reachable", lambda _: True)
    assert crossbatch.load("hf://somebody/model").dim == 8
    assert asked == [("somebody/model", ["config.json", "model.safetensors", "README.md"])]
    assert crossbatch.load(Path("hf://somebody/model")).dim == 8  # the command line passes a Path
    assert asked.pop() == asked[0]
    with pytest.raises(RunError, match=r"hf://somebody/gone cannot be fetched \(404: not found\): check the name"):
        crossbatch.load("hf://somebody/gone")
    with pytest.raises(RunError, match="there is no model at somebody/model"):
        crossbatch.load("somebody/model")
    assert len(asked) == 2
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(MissingExtraError, match=r'pip install "\.\[hub\]"'):
        crossbatch.load("hf://somebody/model")
