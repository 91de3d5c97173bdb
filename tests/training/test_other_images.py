"""Tests of measuring a model on labelled images that its run does not have."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from releases import in_shop, sop

import crossbatch
from crossbatch import data
from crossbatch.__main__ import main
from crossbatch.data.split import Split
from crossbatch.metrics import evaluate

SMALL = "--batch.classes 3 --batch.images 2 --model.dim 8 --model.image_size 16 --optim.steps 4 --optim.warmup 1"


@pytest.fixture(scope="module")
def run(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run trained on the twelve classes."""
    out = tmp_path_factory.mktemp("runs") / "run"
    assert main(["train", str(pictures), "--out", str(out), *SMALL.split()]) == 0
    return out


@pytest.fixture
def others(tmp_path: Path) -> Path:
    """Three classes of four pictures and one of a single picture, all of another size than those of the run."""
    draw = np.random.default_rng(5)
    for name, images in {"a": 4, "b": 4, "c": 4, "lonely": 1}.items():
        folder = tmp_path / "others" / name
        folder.mkdir(parents=True)
        for number in range(images):
            Image.fromarray(draw.integers(0, 256, (20, 30, 3), dtype=np.uint8)).save(folder / f"{number}.png")
    return tmp_path / "others"


def test_a_run_is_measured_on_other_images_as_python_would(
    run: Path, others: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    before = sorted(run.rglob("*"))
    assert main(["evaluate", str(run), "--on", str(others), "--k", "3", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    files = sorted(others.rglob("*.png"))
    labels = torch.tensor(["abcl".index(file.parent.name[0]) for file in files])
    expected = evaluate(torch.from_numpy(crossbatch.load(run).embed(files)), labels, ks=(1, 3)).summary()
    assert {name: found[name] for name in expected} == expected
    assert (found["queries"], found["left_out"], found["classes_left_out"]) == (12, 1, ["lonely"])
    assert (found["gallery"], found["classes"], found["notes"]) == (13, 4, [])
    assert found["before_training"]["R@3"] > 0
    assert sorted(run.rglob("*")) == before


def test_an_exported_model_and_a_table_do_as_well(
    run: Path, others: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [f"{file},{file.parent.name}" for file in sorted(others.rglob("*.png"))]
    (tmp_path / "others.csv").write_text("\n".join(["path,label", *rows]))
    assert main(["export", str(run), "--format", "folder", "--out", str(tmp_path / "model")]) == 0
    capsys.readouterr()
    measured = []
    for model in (run, tmp_path / "model"):
        assert main(["evaluate", str(model), "--on", str(tmp_path / "others.csv"), "--json"]) == 0
        measured.append(json.loads(capsys.readouterr().out))
    assert measured[1]["before_training"] is None
    assert measured[0] | {"before_training": None} == measured[1]


def test_trained_classes_and_unreadable_images_are_told(
    run: Path, pictures: Path, others: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (others / "a" / "broken.png").write_bytes(b"no picture")
    trained = crossbatch.load(run).description.class_names
    (others / "b").rename(others / trained[0])
    capsys.readouterr()
    assert main(["evaluate", str(run), "--on", str(others)]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "note: the model was trained on 1 of these 4 classes, by their names" in told
    assert "left out: cannot read the image" in told
    assert "12 queries among 13 images of 4 classes" in told
    assert "its class has no other image there: lonely" in told


def test_copies_are_told(run: Path, others: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copy(others / "a" / "0.png", others / "a" / "again.png")
    capsys.readouterr()
    assert main(["evaluate", str(run), "--on", str(others)]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "note: 2 files are copies byte for byte of each other, as" in told


def test_classes_held_out_are_no_classes_trained_on(
    run: Path, pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert main(["evaluate", str(run), "--on", str(pictures)]) == 0
    trained = len(crossbatch.load(run).description.class_names)
    assert trained < 12
    assert f"the model was trained on {trained} of these 12 classes" in " ".join(capsys.readouterr().out.split())


def test_images_without_a_label_or_a_partner_are_refused(
    run: Path, others: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.new("RGB", (8, 8)).save(others / "loose.png")
    assert main(["evaluate", str(run), "--on", str(others)]) == 0
    assert "1 image lies beside the class folders, left out, as" in capsys.readouterr().out
    assert main(["evaluate", str(run), "--on", str(others / "loose.png"), "--on", str(others)]) == 0
    (others / "loose.png").rename(others.parent / "loose.png")
    assert main(["evaluate", str(run), "--on", str(others), "--on", str(others.parent / "loose.png")]) == 2
    assert "1 of 14 images have no label, such as" in capsys.readouterr().err
    assert main(["evaluate", str(run), "--on", str(others / "lonely"), "--on", str(others / "a")]) == 2
    assert "images have no label" in capsys.readouterr().err
    for name in "abc":
        for file in list((others / name).iterdir())[1:]:
            file.unlink()
    assert main(["evaluate", str(run), "--on", str(others)]) == 2
    assert "no query has another image of its class in the gallery" in capsys.readouterr().err


def divided(others: Path, folder: Path) -> tuple[Path, Path]:
    """Two images of each class as queries, the others as gallery, in folders of these names."""
    for number, file in enumerate(sorted(others.rglob("*.png"))):
        place = folder / ("query" if number % 4 < 2 else "gallery") / file.parent.name
        place.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, place / file.name)
    return folder / "query", folder / "gallery"


def test_queries_are_searched_in_a_gallery_of_their_own(
    run: Path, others: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By folders, by --among, and by the roles of a table: the same numbers, those of `evaluate` in Python."""
    query, gallery = divided(others, tmp_path / "divided")
    rows = [f"{file},{file.parent.name},{file.parts[-3]}" for file in sorted(query.parent.rglob("*.png"))]
    (tmp_path / "roles.csv").write_text("\n".join(["path,label,role", *rows, f"{others / 'a' / '0.png'},a,train"]))
    capsys.readouterr()
    measured = []
    for words in (["--on", query.parent], ["--on", query, "--among", gallery], ["--on", tmp_path / "roles.csv"]):
        assert main(["evaluate", str(run), *map(str, words), "--worst", "2", "--classes", "1", "--json"]) == 0
        measured.append(json.loads(capsys.readouterr().out))
    files = [sorted(folder.rglob("*.png")) for folder in (query, gallery)]
    labels = [torch.tensor(["abcl".index(file.parent.name[0]) for file in some]) for some in files]
    embedded = [torch.from_numpy(crossbatch.load(run).embed(some)) for some in files]
    expected = evaluate(embedded[0], labels[0], None, embedded[1], labels[1]).summary()
    for found in measured:
        assert {name: found[name] for name in expected} == pytest.approx(expected)
        assert (found["queries"], found["gallery"], found["classes"]) == (6, 6, 4)
        assert found["classes_left_out"] == ["lonely"]
        assert (len(found["worst_queries"]), len(found["of_classes"])) == (2, 1)
    assert [found["notes"] for found in measured] == [
        [],
        [],
        ["images left out, since they are neither query nor gallery: 1"],
    ]


def test_roles_are_read_as_in_training(
    run: Path, others: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Folders query and gallery beside class folders; a file of both roles; --among takes the side that it asks for."""
    query, _ = divided(others, tmp_path / "divided")
    shutil.copytree(others / "a", query.parent / "trained")
    both = [f"{others / label / '0.png'},{label},{role}" for label in "abc" for role in ("query", "gallery")]
    both += [f"{others / label / '1.png'},{label},gallery" for label in "abc"]
    (tmp_path / "both.csv").write_text("\n".join(["path,label,role", *both]))
    counts = []
    for words in (
        ["--on", query.parent],
        ["--on", tmp_path / "both.csv"],
        ["--on", tmp_path / "both.csv", "--among", query.parent],
    ):
        capsys.readouterr()
        assert main(["evaluate", str(run), *map(str, words), "--json"]) == 0
        found = json.loads(capsys.readouterr().out)
        counts.append((found["queries"] + found["left_out"], found["gallery"]))
        assert "of_classes" not in found
    assert counts == [(7, 6), (3, 6), (3, 6)]


def test_queries_that_cannot_be_read_are_named(
    run: Path, others: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    query, gallery = divided(others, tmp_path / "divided")
    for file in query.rglob("*.png"):
        file.write_bytes(b"x")
    assert main(["evaluate", str(run), "--on", str(query), "--among", str(gallery)]) == 2
    assert "images that cannot be read: 7, as" in capsys.readouterr().err


def test_an_image_that_is_also_in_the_gallery_is_not_its_own_hit(
    run: Path, others: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    measured = []
    for words in ([], ["--among", others]):
        assert main(["evaluate", str(run), "--on", str(others), *map(str, words), "--worst", "3", "--json"]) == 0
        measured.append(json.loads(capsys.readouterr().out))
    for name in ("R@1", "MAP@R", "queries", "gallery", "classes_left_out", "worst_queries"):
        assert measured[0][name] == measured[1][name]
    assert main(["evaluate", str(run), "--among", str(others)]) == 2
    assert "name the queries with --on" in capsys.readouterr().err


def test_a_published_set_is_measured_by_its_listing(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    measured, sets = [], []
    (tmp_path / "in_shop" / "Anno").mkdir(parents=True)
    (tmp_path / "in_shop" / "Anno" / "list_item_inshop.txt").touch()  # by which the set is known
    for root in (sop(tmp_path / "sop"), in_shop(tmp_path / "in_shop")):
        capsys.readouterr()
        assert main(["evaluate", str(run), "--on", str(root), "--json"]) == 0
        measured.append(json.loads(capsys.readouterr().out))
        sets.append(data.load(root.name, root, Split(complete=False)))
        assert (measured[-1]["queries"], measured[-1]["classes"]) == (len(sets[-1].query), sets[-1].query.classes)
    assert measured[0]["gallery"] == measured[0]["queries"]
    assert measured[1]["gallery"] == len(sets[1].tests["test"].gallery)
    assert measured[1]["notes"][0] == "measured on the test part of in_shop"
    assert main(["embed", str(run), str(tmp_path / "sop"), "--out", str(tmp_path / "rows.npz")]) == 0
    assert "is read by its folders here, and not by the listing of sop" in capsys.readouterr().out
