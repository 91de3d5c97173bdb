"""Tests that queries with nothing to find are counted, with their classes and the reason."""

from pathlib import Path

import pytest
from PIL import Image

from crossbatch import runs
from crossbatch.__main__ import main

SMALL = "--optim.steps=2 --model.dim=8 --model.image_size=16 --loop.accelerator=cpu --drift.sample=0 --batch.classes=3"


def pictures(root: Path, classes: dict[str, int]) -> None:
    for number, (label, images) in enumerate(classes.items()):
        (root / label).mkdir(parents=True)
        for i in range(images):
            Image.new("RGB", (16, 16), (len(root.name), 9 * number, 40 * i)).save(root / label / f"{i}.png")


def test_twenty_five_queries_of_which_four_can_be_answered(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    pictures(tmp_path / "photos" / "train", {f"t{number}": 4 for number in range(8)})
    pictures(tmp_path / "photos" / "query", {"here": 4, **{f"gone{number:02}": 1 for number in range(21)}})
    pictures(tmp_path / "photos" / "gallery", {"here": 3, "other": 5})
    assert main(["train", "photos", "--out", "run", *SMALL.split()]) == 0
    capsys.readouterr()
    assert main(["evaluate", "run"]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert (
        "21 of 25 queries have nothing to find and do not count: their 21 classes are not in the gallery: "
        "gone00, gone01, gone02, gone03, gone04, …" in told
    )
    (looked,) = runs.read_json(Path("run/evaluations.json"))
    assert (looked["queries"], looked["left_out"], len(looked["classes_left_out"])) == (4, 21, 21)


def test_classes_of_one_image_of_a_part_without_a_gallery(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for part, classes in {
        "train": {f"t{n}": 4 for n in range(8)},
        "val": {"v": 3, "single": 1},
        "test": {"x": 3},
    }.items():
        pictures(tmp_path / "photos" / part, classes)
    assert main(["train", "photos", "--out", "run", *SMALL.split()]) == 0
    capsys.readouterr()
    assert main(["evaluate", "run", "--part", "validation"]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "1 of 4 queries has nothing to find and does not count: its class has no other image there" in told
    assert "note: read as divided already: train/, val/ (validation), test/" in told
