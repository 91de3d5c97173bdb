"""Tests that `crossbatch embed` writes complete files and resumes where it was stopped."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest
from encoder.conftest import write_run

import crossbatch
from crossbatch.__main__ import main
from crossbatch.encoder import row_file
from crossbatch.locks import locked


def embed(*words: object) -> int:
    return main(["embed", *map(str, words)])


def test_the_table_has_a_row_an_image_with_its_label(tmp_path: Path, run: Path, pictures: Path) -> None:
    assert embed(run, pictures, "--out", tmp_path / "rows.parquet") == 0
    table = pyarrow.parquet.read_table(tmp_path / "rows.parquet")
    assert table.column_names == ["id", "path", "label", "embedding"]
    rows = table.to_pydict()
    assert rows["id"] == list(range(72))
    assert [Path(path).parent.name for path in rows["path"]] == rows["label"]
    expected = crossbatch.load(run).embed(rows["path"])
    assert np.array_equal(np.array(rows["embedding"], dtype=np.float32), expected)
    assert embed(run, pictures, "--out", tmp_path / "rows.npz") == 0
    with np.load(tmp_path / "rows.npz") as arrays:
        assert np.array_equal(arrays["embedding"], expected)
        assert arrays["label"].tolist() == rows["label"]
    assert sorted(file.name for file in tmp_path.iterdir()) == ["rows.npz", "rows.parquet", "run"]


def test_files_and_tables_are_sources_too(tmp_path: Path, run: Path, pictures: Path) -> None:
    one = pictures / "class 1" / "0.png"
    listing = tmp_path / "list.csv"
    listing.write_text(f"path,label\n{pictures / 'class 2' / '1.png'},second\n")
    assert embed(run, one, listing, "--out", tmp_path / "rows.parquet") == 0
    rows = pyarrow.parquet.read_table(tmp_path / "rows.parquet").to_pydict()
    assert rows["label"] == [None, "second"]


@pytest.fixture
def embedded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Record the number of images of each call, in chunks of 20. The third call is interrupted."""
    calls: list[int] = []
    whole = crossbatch.Encoder.embed

    def counting(self: crossbatch.Encoder, images: list[Path]) -> np.ndarray:
        if len(calls) == 2:
            calls.append(0)
            raise KeyboardInterrupt
        calls.append(len(images))
        return whole(self, images)

    monkeypatch.setattr(row_file, "CHUNK", 20)
    monkeypatch.setattr(crossbatch.Encoder, "embed", counting)
    return calls


def test_what_was_embedded_is_not_embedded_again(
    tmp_path: Path, run: Path, pictures: Path, embedded: list[int]
) -> None:
    out = tmp_path / "rows.parquet"
    assert embed(run, pictures, "--out", out) == 1
    assert not out.exists()
    assert embed(run, pictures, "--out", out) == 0
    assert embedded == [20, 20, 0, 20, 12]
    ids = pyarrow.parquet.read_table(out)["id"].to_pylist()
    assert ids == list(range(72))
    assert not (tmp_path / "rows.parquet.partial").exists()


@pytest.mark.parametrize("change", ["model", "image", "precision"])
def test_another_model_image_or_precision_begins_anew(
    change: str, tmp_path: Path, run: Path, pictures: Path, embedded: list[int]
) -> None:
    """An image may be replaced by a file of the same size."""
    photos, out = Path(shutil.copytree(pictures, tmp_path / "photos")), tmp_path / "rows.parquet"
    assert embed(run, photos, "--out", out) == 1
    if change == "image":
        file = photos / "class 1" / "0.png"
        os.utime(file, ns=(0, file.stat().st_mtime_ns + 1))
    model = write_run(tmp_path / "other", seed=1) if change == "model" else run
    assert embed(model, photos, "--out", out, *(["--half"] if change == "precision" else [])) == 0
    assert sum(embedded) == 40 + 72


def test_what_somebody_else_keeps_there_is_left_alone(
    tmp_path: Path, run: Path, pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine = tmp_path / "rows.npz.partial" / "mine"
    mine.parent.mkdir()
    mine.write_text("mine")
    assert embed(run, pictures, "--out", tmp_path / "rows.npz") == 2
    assert "rows.npz.partial holds other files, such as mine: move it away" in capsys.readouterr().err
    assert mine.read_text() == "mine"
    (tmp_path / "a file").write_text("")
    assert embed(run, pictures, "--out", tmp_path / "a file" / "rows.npz") == 2
    assert f"lies below {tmp_path / 'a file'}, which is a file" in capsys.readouterr().err
    assert embed(run, pictures, "--out", tmp_path / f"{'x' * 300}.npz") == 2
    assert "cannot be used (File name too long): name another place" in capsys.readouterr().err


def test_a_second_command_waits_its_turn(
    tmp_path: Path, run: Path, pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with locked(tmp_path / "rows.npz.partial" / "lock", ""):
        assert embed(run, pictures, "--out", tmp_path / "rows.npz") == 2
    assert "in use by process" in capsys.readouterr().err
    assert embed(run, pictures, "--out", tmp_path / "rows.npz") == 0


def test_gaps_that_were_allowed_once_are_not_for_ever(
    tmp_path: Path, run: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The first call skips unreadable files and is killed. A second call without --on_corrupt skip must refuse them."""
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no image")
    with monkeypatch.context() as patch:
        patch.setattr(row_file, "_join", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        assert embed(run, broken, pictures, "--out", tmp_path / "rows.npz", "--on_corrupt", "skip") == 1
    assert capsys.readouterr().err == "crossbatch: stopped; the same command continues it\n"
    assert embed(run, broken, pictures, "--out", tmp_path / "rows.npz") == 2
    assert embed(run, broken, pictures, "--out", tmp_path / "rows.npz", "--on_corrupt", "skip") == 0


def test_bad_input_is_a_sentence_and_leaves_nothing(
    tmp_path: Path, run: Path, pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"\xff\xd8\xff no picture")
    (tmp_path / "there.npz").touch()
    for words, reason in (
        ((pictures, "--out", tmp_path / "rows.txt"), "rows are written to a .parquet or .npz file, got"),
        ((pictures, "--out", tmp_path / "there.npz"), "there.npz is there already: name another --out"),
        ((tmp_path / "nowhere", "--out", tmp_path / "rows.npz"), "there is no "),
        ((run, "--out", tmp_path / "rows.npz"), "there is no image in"),
        ((broken, "--out", tmp_path / "rows.npz"), "cannot read the image"),
    ):
        assert embed(run, *words) == 2
        error = capsys.readouterr().err
        assert reason in error
        assert error.count("\n") == 1
    assert {path.name for path in tmp_path.iterdir() if "rows" in path.name} == set()
    assert embed(run, pictures, broken, "--on_corrupt", "skip", "--out", tmp_path / "rows.npz", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["images"] == 72
    assert [Path(one["path"]).name for one in told["left_out"]] == ["broken.jpg"]
