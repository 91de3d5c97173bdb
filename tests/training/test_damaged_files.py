"""Tests of damaged files during training, with and without loader processes: skipped or refused, and never a hang."""

import shutil
from pathlib import Path

import pytest
from benchmarks.commands import running

from crossbatch.__main__ import main

WORDS = "--optim.steps=4 --model.dim=8 --model.image_size=16 --loop.accelerator=cpu --drift.sample=0 --batch.classes=4"


@pytest.mark.parametrize("on_corrupt", ["skip", "refuse"])
@pytest.mark.parametrize(("workers", "check"), [(0, "header"), (0, "none"), (2, "none")])
def test_damaged_files_end_in_a_run_or_one_sentence(
    workers: int,
    on_corrupt: str,
    check: str,
    pictures: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    photos = Path(shutil.copytree(pictures, tmp_path / "photos"))
    for folder in sorted(photos.iterdir()):
        (folder / "0.png").write_bytes(b"")
        (folder / "1.png").write_bytes((folder / "1.png").read_bytes()[:200])
    words = ["train", str(photos), "--out", str(tmp_path / "run"), *WORDS.split()]
    options = ["--loop.workers", str(workers), "--loop.on_corrupt", on_corrupt, "--loop.check", check]
    if workers:  # run in a separate process, which can be ended if it hangs
        with running([*words, *options], tmp_path / "told", CROSSBATCH_CACHE=str(tmp_path / "cache")) as command:
            status = command.wait()
        told = command.output
    else:
        monkeypatch.setenv("CROSSBATCH_CACHE", str(tmp_path / "cache"))
        status = main([*words, *options])
        told = "".join(capsys.readouterr())
    assert "Traceback" not in told
    if on_corrupt == "skip":
        assert status == 0
        assert "skipped: cannot read the image" in told
    else:
        assert status == 2
        assert "cannot read the image" in told or "images cannot be read" in told
        assert not (tmp_path / "run" / "summary.json").exists()
