"""Tests of folders from strangers: none of their code runs, and no file outside of them is written or read."""

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from galleries import indexed, model_in
from PIL import Image

from crossbatch import durable, runs
from crossbatch.__main__ import main
from crossbatch.errors import DataError, RunError
from crossbatch.imported import imported
from crossbatch.index import description
from crossbatch.index.kept_model import keep
from crossbatch.locks import locked
from crossbatch.report.gallery import picture_uri


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    file = tmp_path / "victim"
    file.write_text("mine")
    return file


def test_the_working_directory_is_imported_from_for_what_a_person_names_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Packages try to import optional packages. A file of that name in a stranger's folder must not run."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [one for one in sys.path if one not in ("", str(tmp_path))])
    (tmp_path / "my_losses_of_today.py").write_text("from crossbatch import NCALoss\n\n\nclass Mine(NCALoss): ...\n")
    Path("loss.yaml").write_text("loss: {class_path: my_losses_of_today.Mine}\n")
    assert main(["search", ".", "photo.jpg"]) == 2
    assert str(tmp_path) not in sys.path
    for words in ("--loss=my_losses_of_today.Mine", "--loss.class_path my_losses_of_today.Mine", "--config loss.yaml"):
        monkeypatch.setattr(sys, "path", [one for one in sys.path if one != str(tmp_path)])
        sys.modules.pop("my_losses_of_today", None)
        capsys.readouterr()
        assert main(["train", "nowhere", *words.split()]) == 2
        assert "nowhere does not exist" in capsys.readouterr().err
    assert imported("my_losses_of_today.Mine", "--loss").__name__ == "Mine"
    assert main(["train", ".", "--loss", "no_such_module_anywhere.Mine"]) == 2
    assert "cannot be imported" in capsys.readouterr().err


def test_python_m_does_not_import_from_the_working_directory_either(tmp_path: Path) -> None:
    (tmp_path / "pillow_heif.py").write_text("raise SystemExit(99)\n")
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    command = [sys.executable, "-m", "crossbatch", "inspect", "."]
    done = subprocess.run(command, cwd=tmp_path, check=False, capture_output=True, text=True)
    assert done.returncode == 2, done.stderr
    assert "pillow_heif" not in done.stderr


def test_what_is_written_never_goes_where_a_link_leads(tmp_path: Path, victim: Path) -> None:
    folder = tmp_path / "sent"
    folder.mkdir()
    (folder / "lock").symlink_to(victim)
    told = "is a link, and a lock would be written to where it leads: remove it"
    with pytest.raises(RunError, match=told), locked(folder / "lock", "wait"):
        pass
    (folder / f"file.{os.getpid()}-{threading.get_ident()}{durable.PARTIAL}").symlink_to(victim)
    durable.write_text(folder / "file", "theirs")
    assert (folder / "file").read_text() == "theirs"
    (folder / "model").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(RunError, match="is a link, and the model would be written to where it leads"):
        keep(model_in(tmp_path / "run"), folder)
    assert victim.read_text() == "mine"
    assert not (tmp_path / "elsewhere").exists()


def test_a_report_shows_pictures_of_its_run_alone(tmp_path: Path, victim: Path) -> None:
    (tmp_path / "link.png").symlink_to(victim)
    (tmp_path / "text.png").write_text("mine")
    Image.new("RGB", (2, 2)).save(tmp_path / "picture.png")
    assert [bool(picture_uri(tmp_path / f"{one}.png")) for one in ("link", "text", "none", "picture")] == [
        False,
        False,
        False,
        True,
    ]


def test_a_small_file_that_would_grow_without_end_is_refused(tmp_path: Path) -> None:
    levels = [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 9)]
    (tmp_path / runs.CONFIG).write_text("\n".join(["a0: &a0 [x]", *levels]))
    with pytest.raises(RunError, match="it has more than 20 aliases"):
        runs.read_config(tmp_path)
    (tmp_path / runs.CONFIG).write_text("a: &a [1]\nb: *a\n")
    assert runs.read_config(tmp_path) == {"a": [1], "b": [1]}
    (tmp_path / runs.SUMMARY).write_text("[" * 200_000)
    with pytest.raises(RunError, match="cannot be read"):
        runs.read_summary(tmp_path)


@pytest.mark.parametrize("content", ["[" * 200_000, '"revision": 1e999'])
def test_a_description_of_a_gallery_that_cannot_be_is_told(content: str, tmp_path: Path) -> None:
    indexed(tmp_path / "gallery", model_in(tmp_path / "run"), [])
    file = tmp_path / "gallery" / description.FILE
    plain = json.dumps(json.loads(file.read_text()))
    file.write_text(content if content[0] == "[" else plain.replace('"revision": 0', content, 1))
    with pytest.raises(DataError, match="cannot be read"):
        description.read(tmp_path / "gallery")


def test_a_password_in_the_address_of_a_server_is_not_written_down(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["index", str(model_in(tmp_path / "run")), str(tmp_path), "--to", "http://me:secret@localhost:1"]
    assert main([*words, "--table", str(tmp_path / "table")]) == 2
    told = capsys.readouterr().err
    assert "the address of localhost:1 holds a user or a password: give it in the variable MILVUS_TOKEN" in told
    assert "secret" not in told
