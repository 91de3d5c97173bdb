"""Tests of `crossbatch index` and `crossbatch search` on the command line, also when they are killed."""

import json
import os
import random
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from galleries import indexed, model_in, opened
from milvus_lite.adapter.grpc.server import start_server_in_thread
from PIL import Image

import crossbatch
from crossbatch import runs
from crossbatch.__main__ import main
from crossbatch.errors import DataError
from crossbatch.index import changes, description, indexing, projection
from crossbatch.index.writer import writing
from crossbatch.training.settings import Settings


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return model_in(tmp_path_factory.mktemp("run"))


@pytest.fixture
def photos(pictures: Path, tmp_path: Path) -> Path:
    for name in ("class 1", "class 2"):
        shutil.copytree(pictures / name, tmp_path / "photos" / name)
    return tmp_path / "photos"


def asked(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, object]:
    capsys.readouterr()
    assert main([*words, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_an_album_that_changes(
    run: Path, photos: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A new photo of a known folder gets its label. Missing or replaced files are reported, and removed if wanted."""
    gallery = str(tmp_path / "gallery")
    asked(capsys, "index", str(run), "--to", gallery, str(photos))
    shutil.copy(pictures / "class 3" / "0.png", photos / "class 1" / "new.png")
    assert asked(capsys, "index", gallery, str(photos / "class 1"))["added"] == 1
    rows = opened(tmp_path / "gallery").rows
    assert rows.image(len(rows) - 1).path == "class 1/new.png"
    assert rows.image(len(rows) - 1).label == "class 1"
    (photos / "class 2" / "0.png").unlink()
    shutil.copy(pictures / "class 3" / "1.png", photos / "class 2" / "1.png")
    assert main(["index", gallery, str(photos)]) == 0
    assert "the files of 2 images are gone or replaced by now: the same command with --prune" in capsys.readouterr().out
    made = asked(capsys, "index", gallery, str(photos), "--prune")
    assert (made["pruned"], made["known"]) == (2, 12)
    assert sorted(opened(tmp_path / "gallery").rows.paths) == sorted(
        str(file.relative_to(photos)) for file in photos.rglob("*.png")
    )
    (photos / "class 2" / "1.png").unlink()
    assert asked(capsys, "index", gallery, "--prune")["pruned"] == 1
    (photos / "class 2").rename(tmp_path / "class 2")
    gone = sum(path.startswith("class 2/") for path in opened(tmp_path / "gallery").rows.paths)
    assert asked(capsys, "index", gallery, "--prune")["pruned"] == gone > 0
    photos.rename(tmp_path / "moved")  # images on a missing disk are not lost
    assert main(["index", gallery, "--prune"]) == 0
    told = capsys.readouterr().out
    left = len(opened(tmp_path / "gallery").rows)
    assert "pruned: 0" in told
    assert f"{photos} is gone or empty" in told
    assert f"so {left} images of it stay in the gallery: --remove {photos} takes them out" in told.replace("\n", " ")
    assert asked(capsys, "index", gallery, "--remove", str(photos))["removed"] == left


def test_what_cannot_be_read_now_is_not_pruned(
    run: Path, photos: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gallery = str(tmp_path / "gallery")
    asked(capsys, "index", str(run), "--to", gallery, str(photos))
    (photos / "class 1" / "0.png").write_bytes(b"")  # a partial copy or a failing disk
    assert asked(capsys, "index", gallery, str(photos), "--prune")["pruned"] == 0
    for file in photos.rglob("*.png"):
        file.unlink()  # a mount point whose disk is missing
    assert asked(capsys, "index", gallery, "--prune")["pruned"] == 0
    assert len(opened(tmp_path / "gallery").rows) == 12
    assert asked(capsys, "index", gallery, "--remove", "class 1")["removed"] == 6
    assert main(["index", gallery, "--remove", "class 1"]) == 2
    assert "the gallery has no image class 1" in capsys.readouterr().err


def test_a_part_of_a_known_folder_is_labelled_as_the_whole_was(
    run: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    album = tmp_path / "album"
    for number, name in enumerate(("apple/red", "apple/green", "test", "pear")):
        (album / name).mkdir(parents=True)
        shutil.copy(pictures / "class 5" / f"{number}.png", album / name / "0.png")
    gallery = str(tmp_path / "gallery")
    asked(capsys, "index", str(run), "--to", gallery, str(album))
    assert asked(capsys, "index", gallery, str(album / "apple"))["changed"] == 0
    shutil.copy(pictures / "class 5" / "5.png", album / "test" / "new.png")
    shutil.copy(pictures / "class 5" / "4.png", tmp_path / "loose.png")
    assert main(["index", gallery, str(album / "test"), str(tmp_path / "loose.png")]) == 0
    assert "note: 1 image has no label" in capsys.readouterr().out
    rows = opened(tmp_path / "gallery").rows
    labels = {path: rows.label(row) for row, path in enumerate(rows.paths)}
    assert labels == {
        "apple/red/0.png": "apple",
        "apple/green/0.png": "apple",
        "test/0.png": "test",
        "test/new.png": "test",
        "pear/0.png": "pear",
        "loose.png": None,
    }


def test_a_query_folder_of_a_known_album_is_labelled_as_before(
    run: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Query and gallery beside training classes: their images are labelled by the second folder, also given alone."""
    album = tmp_path / "album"
    for number, name in enumerate(("query/apple", "gallery/apple", "pear", "plum", "fig")):
        (album / name).mkdir(parents=True)
        shutil.copy(pictures / "class 5" / f"{number}.png", album / name / "0.png")
    gallery = str(tmp_path / "gallery")
    asked(capsys, "index", str(run), "--to", gallery, str(album))
    assert asked(capsys, "index", gallery, str(album / "query"))["changed"] == 0
    rows = opened(tmp_path / "gallery").rows
    assert {path: rows.label(row) for row, path in enumerate(rows.paths)}["query/apple/0.png"] == "apple"


def test_a_gallery_that_another_has_filled_meanwhile_stays(
    run: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "note.txt").write_text("text")
    load = crossbatch.encoder.load

    def meanwhile(*given: Any, **named: Any) -> Any:
        monkeypatch.undo()
        assert main(["index", str(run), str(photos), "--to", str(tmp_path / "gallery")]) == 0
        return load(*given, **named)

    monkeypatch.setattr("crossbatch.encoder.load", meanwhile)
    assert main(["index", str(run), str(tmp_path / "note.txt"), "--to", str(tmp_path / "gallery")]) == 0
    assert len(opened(tmp_path / "gallery").rows) == 12


def test_what_cannot_be_indexed_leaves_nothing(
    run: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "note.txt").write_text("text")
    assert main(["index", str(run), str(tmp_path / "note.txt"), "--to", str(tmp_path / "gallery")]) == 2
    assert "none of the 1 images can be read, as note.txt" in capsys.readouterr().err
    assert not (tmp_path / "gallery").exists()
    table = tmp_path / "photos.csv"
    table.write_text(f"path,label\n{photos / 'class 1' / '0.png'},a\nmissing.png,b\n")
    assert main(["index", str(run), str(table), "--to", str(tmp_path / "gallery")]) == 0
    assert "note: 1 of the 2 images of" in capsys.readouterr().out
    assert opened(tmp_path / "gallery").rows.paths == ["photos/class 1/0.png"]
    assert main(["index", str(tmp_path / "none"), "--labels", str(table)]) == 2
    assert "there is no" in capsys.readouterr().err


def test_a_table_of_places_elsewhere_tells_no_whole_paths(
    run: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "tables").mkdir()
    table = tmp_path / "tables" / "photos.csv"
    rows = [f"{file},x" for file in sorted(photos.rglob("*.png"))]
    table.write_text("\n".join(["path,label", *rows]))
    asked(capsys, "index", str(run), str(table), "--to", str(tmp_path / "gallery"))
    assert set(opened(tmp_path / "gallery").rows.paths) == {
        f"{name}/{number}.png" for name in ("class 1", "class 2") for number in range(6)
    }


def test_why_nothing_is_found_is_told(
    run: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gallery, photo = str(tmp_path / "gallery"), str(photos / "class 1" / "0.png")
    made = asked(capsys, "index", str(run), "--to", gallery, str(photos))
    assert made["added"] == 12
    assert main(["search", gallery, photo, "--min_similarity", "1"]) == 0
    assert "no image is as similar as --min_similarity; the nearest reaches 0." in capsys.readouterr().out
    short = opened(tmp_path / "gallery").rows.ids[0][:4]
    assert main(["search", gallery, "--id", short]) == 2
    assert f"an id may be shortened to 6 of its 32 characters, got {short}" in capsys.readouterr().err


def test_from_a_run_to_a_search(
    run: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    gallery = str(tmp_path / "gallery")
    made = asked(capsys, "index", str(run), "--to", gallery, str(photos))
    assert (made["added"], made["index"], made["recall@10"]) == (12, "FLAT", 1.0)
    photo = str(photos / "class 1" / "0.png")
    found = asked(capsys, "search", gallery, photo, "--top", "3", "--label", "class 2")
    assert found["query"] == photo
    assert [set(hit) for hit in found["hits"]] == [{"id", "path", "label", "similarity"}] * 3
    assert {hit["label"] for hit in found["hits"]} == {"class 2"}
    page = tmp_path / "page.html"
    several = asked(
        capsys, "search", gallery, photo, "--html", str(page), str(photos / "class 2" / "1.png"), "--top", "2"
    )
    assert [len(one["hits"]) for one in several] == [2, 2]
    assert page.read_text(encoding="utf-8").count("data:image/png;base64,") == 6
    assert "http" not in page.read_text(encoding="utf-8")
    assert f"<title>Similar images in {tmp_path.name}</title>" in page.read_text(encoding="utf-8"), "the title is wrong"
    one = found["hits"][0]["id"]
    by_id = asked(capsys, "search", gallery, "--id", one[:8])
    assert by_id["query"] == found["hits"][0]["path"]
    assert one not in {hit["id"] for hit in by_id["hits"]}
    assert (
        asked(capsys, "search", gallery, photo, "--by", "milvus")["hits"]
        == asked(capsys, "search", gallery, photo)["hits"]
    )
    own = indexing.digest_of((photos / "class 1" / "0.png").read_bytes())
    for words in (["--id", own], [photo]):
        whole, part = (asked(capsys, "search", gallery, *words, *box) for box in ([], ["--box", "0,0,1,0.9"]))
        assert [own in {hit["id"] for hit in one["hits"]} for one in (whole, part)] == [False, True]
    assert main(["search", gallery, photo, "--box", "0,0,0.5,0.5"]) == 0
    assert "exact, by the table" in capsys.readouterr().out
    table = tmp_path / "labels.csv"
    table.write_text("path,label\nclass 1/0.png,apple\n")
    changed = asked(capsys, "index", gallery, "--labels", str(table), "--remove", "class 2/1.png")
    assert (changed["relabelled"], changed["removed"]) == (1, 1)
    assert len(opened(tmp_path / "gallery")) == 11
    assert description.read(tmp_path / "gallery").database.revision == description.read(tmp_path / "gallery").revision
    (tmp_path / "gallery").rename(tmp_path / "moved")
    shutil.rmtree(tmp_path / "moved" / "milvus.db")
    again = asked(capsys, "index", str(tmp_path / "moved"))
    assert (again["added"], again["recall@10"]) == (0, 1.0)
    fresh = tmp_path / "fresh.png"
    Image.new("RGB", (30, 30), "green").save(fresh)
    assert asked(capsys, "search", str(tmp_path / "moved"), str(fresh))["hits"]


def test_a_search_imports_nothing_that_it_does_not_need(run: Path, photos: Path, tmp_path: Path) -> None:
    gallery, photo = str(tmp_path / "gallery"), str(photos / "class 1" / "0.png")
    assert main(["index", str(run), "--to", gallery, str(photos)]) == 0
    search = f"main(['search', {gallery!r}, {photo!r}])"
    code = f"import sys\nfrom crossbatch.__main__ import main\n{search}\nprint(*sys.modules)"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    loaded = {name.split(".")[0] for name in told.splitlines()[-1].split()}
    assert "pyarrow" in loaded
    assert not loaded & {"pandas", "pymilvus", "timm", "torchvision", "lightning", "matplotlib"}


def test_a_graph_beside_the_weights_is_searched_with(
    run: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gallery, fresh = tmp_path / "gallery", str(tmp_path / "fresh.png")
    Image.new("RGB", (30, 30), "green").save(fresh)
    assert main(["index", str(run), "--to", str(gallery), str(photos)]) == 0
    before = asked(capsys, "search", str(gallery), fresh)["hits"]
    assert main(["export", str(gallery / "model")]) == 0
    (gallery / "model" / "model.safetensors").rename(tmp_path / "weights")
    after = asked(capsys, "search", str(gallery), fresh)["hits"]
    assert [one["id"] for one in after] == [one["id"] for one in before]
    assert [one["similarity"] for one in after] == pytest.approx([one["similarity"] for one in before], abs=1e-4)
    (gallery / "model" / "model.onnx").unlink()
    other = model_in(tmp_path / "other", seed=1)
    assert main(["export", str(other), "--out", str(gallery / "model" / "model.onnx")]) == 0
    capsys.readouterr()
    assert main(["search", str(gallery), fresh]) == 2
    assert "model.onnx is of model" in capsys.readouterr().err


def test_a_network_of_timm_is_searched_with_by_a_graph(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = model_in(tmp_path / "run", backbone="test_efficientnet")
    gallery, fresh = tmp_path / "gallery", str(tmp_path / "fresh.png")
    Image.new("RGB", (30, 30), "green").save(fresh)
    assert main(["index", str(run), "--to", str(gallery), str(photos)]) == 0
    graph = gallery / "model" / "model.onnx"
    assert f"graph: {graph}" in capsys.readouterr().out
    with_graph = asked(capsys, "search", str(gallery), fresh)["hits"]
    weights = graph.with_name("model.safetensors").rename(tmp_path / "weights")
    assert asked(capsys, "search", str(gallery), fresh)["hits"] == with_graph
    weights.rename(graph.with_name("model.safetensors"))
    graph.write_bytes(b"of a later format")
    without = asked(capsys, "search", str(gallery), fresh)["hits"]
    assert [one["similarity"] for one in without] == pytest.approx([one["similarity"] for one in with_graph], abs=1e-4)
    graph.with_name("model.onnx.1-1.partial").write_bytes(b"")  # as a killed process leaves it
    assert main(["index", str(gallery), fresh]) == 0
    assert not list(graph.parent.glob("*.partial"))
    weights = graph.with_name("model.safetensors").rename(tmp_path / "weights")
    assert len(asked(capsys, "search", str(gallery), fresh)["hits"]) == len(with_graph)


def test_a_run_is_indexed_before_it_is_searched(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(projection, "FEW", 10**9)
    small = (
        "--batch.classes 3 --batch.images 2 --model.dim 8 --model.image_size 16 --optim.steps 3 --loop.check_every 3"
    )
    run = tmp_path / "run"
    assert main(["train", str(pictures), *small.split(), "--out", str(run)]) == 0
    assert f"crossbatch serve {run}" in capsys.readouterr().out
    found = asked(capsys, "search", str(run), str(pictures / "class 3" / "0.png"), "--top", "5")
    assert len(found["hits"]) == 5
    assert len(opened(run / "gallery")) == 72
    before = (run / "gallery" / description.FILE).read_bytes()
    assert asked(capsys, "search", str(run), str(pictures / "class 3" / "0.png"), "--top", "5") == found
    assert (run / "gallery" / description.FILE).read_bytes() == before


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["gone.jpg"], "cannot read the image gone.jpg (No such file or directory): name an image file"),
        (["photo.png", "text.jpg"], "text.jpg: this cannot be read as an image: it is text"),
        (["."], "is a folder: name the images in it"),
        (["photo.png", "--box", "0,0,900,1"], "within the image of 16 × 16 pixels, got"),
        (["--id", "ab", "--box", "0,0,1"], "a box is left,top,right,bottom"),
        (["photo.png", "--html", "text.jpg/page.html"], "lies below"),
    ],
)
def test_what_cannot_be_searched_with_is_refused_before_anything_is_indexed(
    words: list[str],
    told: str,
    run: Path,
    pictures: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(pictures / "class 3" / "0.png", "photo.png")
    Path("text.jpg").write_text("no image")
    shutil.copytree(run, "run")
    runs.write_config(Path("run"), Settings(data="folder", root=pictures).as_dict())
    assert main(["search", "run", *words]) == 2
    assert told in capsys.readouterr().err
    assert not Path("run/gallery").exists()


def test_a_gallery_that_a_run_has_is_searched_as_it_is_and_says_so(
    run: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own, photo = shutil.copytree(run, tmp_path / "own"), str(photos / "class 1" / "0.png")
    (own / "config.yaml").write_text("data: folder\n")
    assert main(["index", str(own), photo]) == 0
    capsys.readouterr()
    assert main(["search", str(own), photo]) == 0
    said = capsys.readouterr().out
    assert f"{own / 'gallery'} is there, with 1 images; crossbatch index {own} adds the run's own\n" in said
    unread = ["--root", str(tmp_path / "nowhere"), "--data", "nope.x"]
    cases = {
        ("search", str(own), photo, *unread): f"{own / 'gallery'} is there, so no data set",
        ("search", str(own / "gallery"), photo, *unread): f"{own / 'gallery'} is a gallery, so no data set",
        ("serve", str(own), *unread): f"{own / 'gallery'} is there, so no data set",
        ("index", str(own / "gallery"), *unread): f"{own / 'gallery'} is a gallery, so no data set",
        ("index", str(own), photo, *unread): "IMAGES are given, so no data set",
        ("index", str(own), "--remove", "0.png", *unread): "nothing is added, so no data set",
    }
    for words, told in cases.items():
        assert main(list(words)) == 2, words
        assert f"{told} of a run is read: leave out --data and --root\n" in capsys.readouterr().err
    assert len(opened(own / "gallery")) == 1


def test_an_address_where_no_server_answers_costs_no_embedding_and_does_not_stay(
    run: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong, gallery, photo = "http://127.0.0.1:9", tmp_path / "gallery", str(photos / "class 1" / "0.png")
    monkeypatch.setattr(indexing, "add", lambda *_: pytest.fail("embedded"))
    assert main(["index", str(run), photo, "--to", wrong, "--table", str(gallery)]) == 2
    assert f"{wrong} cannot be opened" in capsys.readouterr().err
    assert not gallery.exists()
    monkeypatch.undo()
    indexed(gallery, run, [photos])
    with writing(gallery) as writer:  # as if the writer had ended before it updated the database
        writer.keep_database(description.Database(wrong, "crossbatch_test"))
    assert main(["index", str(gallery)]) == 2
    assert f"crossbatch index {gallery} --to ADDRESS uses another server" in capsys.readouterr().err
    server, held, port = start_server_in_thread(str(tmp_path / "server.db"))
    right = f"http://127.0.0.1:{port}"
    made = asked(capsys, "index", str(gallery), "--to", right)
    assert (made["database"], made["recall@10"], made["added"]) == (right, 1.0, 0)
    assert main(["index", str(gallery), "--to", wrong]) == 2
    assert f"has its database at {right}, not at {wrong}: leave --to out, or" in capsys.readouterr().err
    server.stop(grace=0)
    held.close()


def test_words_that_do_not_fit(run: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    gallery, photo = str(tmp_path / "gallery"), str(photos / "class 1" / "0.png")
    empty = tmp_path / "empty"
    empty.mkdir()
    assert main(["index", str(run), str(photos), "--to", gallery]) == 0
    assert main(["index", str(run), str(photos / "class 1" / "1.png"), "--to", str(tmp_path / "one")]) == 0
    assert main(["index", str(tmp_path / "one"), "--remove", "1.png"]) == 0
    cases = {
        ("search", str(tmp_path / "one"), photo): "is empty: add images with",
        ("search", gallery): "nothing to search with",
        ("search", gallery, str(tmp_path / "none.png")): "none.png (No such file or directory)",
        ("search", gallery, str(tmp_path / "gallery" / "gallery.json")): "cannot be read as an image",
        ("search", gallery, photo, "--label", "pear"): "has the label pear\n",
        ("search", gallery, photo, "--label", "Class 1"): "has the label Class 1: did you mean class 1?",
        ("search", gallery, photo, "--box", "1,2"): "a box is left,top,right,bottom",
        ("search", gallery, photo, "--top", "0"): "--top takes a whole number of at least 1, got 0",
        ("search", gallery, photo, "--min_similarity", "2"): "a cosine from -1 to 1, got 2",
        ("search", gallery, "--id", "zzz"): "has no image zzz",
        ("search", str(photos), photo): "is a folder of images: give the run folder of a model, or a gallery",
        ("index", str(run), str(tmp_path / "none"), "--to", gallery): "there is no",
        ("index", str(run), str(empty), "--to", gallery): "there is no image in",
        ("index", str(run), str(photos), "--to", str(photos)): "holds something else than a gallery",
        ("index", str(run), str(photos), "--to", photo): "is a file",
        ("index", gallery, str(photos), "--to", str(tmp_path / "new")): "is a gallery: to make another",
        ("index", str(run), str(photos), "--table", gallery): "--table goes with --to http",
        ("index", gallery, "--remove", "none.png"): "has no image none.png",
        ("serve", str(photos)): f"or a gallery, as crossbatch index RUN {photos} --to GALLERY makes of these images",
        ("serve", str(photos / "class 1")): "is a folder of images",
        ("serve", str(empty)): "is neither a run folder nor a gallery (gallery.json is missing)",
        ("serve", str(tmp_path / "nope")): "nope: give a run folder, or a gallery",
    }
    for words, told in cases.items():
        capsys.readouterr()
        assert main(list(words)) == 2, words
        said = capsys.readouterr().err
        assert told in said
        assert said.count("\n") == 1


def test_a_run_that_is_read_only_is_told_with_a_way_out_that_works(
    run: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    home = shutil.copytree(run, tmp_path / "run")
    (home / "config.yaml").write_text(f"root: {photos}\ndata: folder\n")
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != home)
    told = {
        ("serve", str(home)): f"gallery cannot be written to: crossbatch index {home} --to GALLERY makes the gallery",
        ("search", str(home), str(photos / "class 1" / "0.png")): f"crossbatch index {home} --to GALLERY",
        ("index", str(home), str(photos)): "cannot be written to: name another folder for the gallery with --to",
        ("export", str(home)): f"{home} cannot be written to: say with --out where to write",
        ("evaluate", str(home)): f"{home} cannot be written to: copy it, or measure on images that --on names",
    }
    for words, sentence in told.items():
        assert main(list(words)) == 2, words
        assert sentence in capsys.readouterr().err
    assert main(["index", str(home), str(photos), "--to", str(tmp_path / "gallery")]) == 0
    assert main(["evaluate", str(home), "--on", str(photos)]) == 0


def test_copies_under_several_labels_are_told(
    run: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(photos / "class 1" / "0.png", photos / "class 2" / "copy.png")
    shutil.copy(photos / "class 1" / "1.png", photos / "class 1" / "copy.png")
    assert main(["index", str(run), "--to", str(tmp_path / "gallery"), str(photos)]) == 0
    told = capsys.readouterr().out
    assert "2 are byte-for-byte copies" in told
    assert "1 copy is under another label than the one kept, as class 2/copy.png, kept as class 1" in told


def test_nothing_is_written_before_all_names_are_known(
    run: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(projection, "FEW", 10**9)
    gallery, table, new = tmp_path / "gallery", tmp_path / "labels.csv", photos / "class 2"
    assert main(["index", str(run), str(photos / "class 1"), "--to", str(gallery)]) == 0
    before = (gallery / description.FILE).read_bytes()
    cases = {
        "x,y\n": "has no column id or path and no column label: its header is x,y",
        "path,label\nnone.png,b\n": "has no image none.png",
        "path,label\n0.png,a\n1.png\n": "labels.csv, line 3 needs an id or a path, and a label: to remove the label",
        "path,label\n0.png,a,b\n": "line 2 has more fields than the header",
    }
    for text, told in cases.items():
        table.write_text(text)
        for images in ([], [str(new)]):
            capsys.readouterr()
            assert main(["index", str(gallery), *images, "--remove", "0.png", "--labels", str(table)]) == 2
            assert told in capsys.readouterr().err
    assert main(["index", str(gallery), str(new), "--remove", "nosuch"]) == 2
    assert (gallery / description.FILE).read_bytes() == before
    table.write_text("path,label\n0.png,gone\n1.png,kept\n")
    both = asked(capsys, "index", str(gallery), "--remove", "0.png", "--labels", str(table))
    assert (both["removed"], both["relabelled"]) == (1, 2)
    table.write_text(f"id,label\n{indexing.digest_of((new / '3.png').read_bytes())},new\n")
    before = (gallery / description.FILE).read_bytes()
    first = indexing.digest_of((photos / "class 1" / "1.png").read_bytes())
    assert main(["index", str(gallery), str(new), "--remove", "1.png"]) == 2
    assert (
        f"1.png is the path of 2 images, 1 of them to come: give the id of one: {first} (kept)"
        in capsys.readouterr().err
    )
    assert (gallery / description.FILE).read_bytes() == before
    more = asked(capsys, "index", str(gallery), str(new), "--remove", first, "--labels", str(table))
    assert (more["added"], more["relabelled"], more["removed"]) == (6, 1, 1)


def test_a_table_of_labels_is_read_as_any_other_table(
    run: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(projection, "FEW", 10**9)
    gallery, table = tmp_path / "gallery", tmp_path / "labels.csv"
    assert main(["index", str(run), str(photos), "--to", str(gallery)]) == 0
    (tmp_path / "link").symlink_to(photos)
    tables = {
        "path;label\r\nclass 1/0.png;semicolon\r\n": "utf-8",
        "\ufeffPath , CLASS\nclass 1/0.png,capitals\n": "utf-8",
        "file_name\tcategory\nclass 1/0.png\ttab\n": "utf-16",
        "path,label\nclass 1\\0.png,backslash\n": "utf-8",
        f"path,label\n{photos}/class 1/0.png,absolute\n": "utf-8",
        f"path,label\n{tmp_path}/link/class 1/0.png,by a link\n": "utf-8",
        "path,label\nphotos\\class 1\\0.png,from the table\n": "utf-8",
        f"id,label\n{indexing.digest_of((photos / 'class 1' / '0.png').read_bytes())},id\n": "utf-8",
    }
    for text, encoding in tables.items():
        table.write_bytes(text.encode(encoding))
        assert asked(capsys, "index", str(gallery), "--labels", str(table))["relabelled"] == 1, text
        rows = opened(gallery).rows
        assert rows.label(rows.paths.index("class 1/0.png")) == re.split("[,;\t]", text.strip())[-1]
    lines = tmp_path / "labels.jsonl"
    lines.write_text('{"path": "class 1/0.png", "label": null}\n')
    assert asked(capsys, "index", str(gallery), "--labels", str(lines))["relabelled"] == 1
    rows = opened(gallery).rows
    assert rows.label(rows.paths.index("class 1/0.png")) is None


def test_an_image_is_taken_out_by_the_path_of_its_file(
    run: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(projection, "FEW", 10**9)
    monkeypatch.chdir(photos)
    gallery = str(tmp_path / "gallery")
    for name in ("class 1", "class 2"):  # two folders, in which the same names occur
        assert main(["index", str(run), name, "--to", gallery]) == 0
    for name in (f"{photos}/class 1/0.png", "class 1/1.png", f"{tmp_path}/x/../photos/class 2/0.png"):
        assert asked(capsys, "index", gallery, "--remove", name)["removed"] == 1, name
    assert asked(capsys, "index", gallery, "class 1", "--remove", f"{photos}/class 1/0.png")["removed"] == 1
    photos.rename(tmp_path / "gone")
    assert asked(capsys, "index", gallery, "--remove", f"{photos}/class 1/2.png")["removed"] == 1
    assert main(["index", gallery, "--remove", f"{photos}/class 1/none.png"]) == 2
    assert f"the gallery has no image {photos}/class 1/none.png: give" in capsys.readouterr().err


def test_a_path_of_several_images_takes_none_of_them_out(
    run: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gallery = tmp_path / "gallery"
    for folder in ("class 1", "class 2"):
        assert main(["index", str(run), str(photos / folder), "--to", str(gallery)]) == 0
    assert main(["index", str(gallery), "--remove", "0.png"]) == 2
    said = capsys.readouterr().err
    assert "0.png is the path of 2 images: give the id of one: " in said
    ids = [indexing.digest_of((photos / folder / "0.png").read_bytes()) for folder in ("class 1", "class 2")]
    assert all(f"{one} (no label)" in said for one in ids)
    assert len(opened(gallery)) == 12
    assert main(["search", str(gallery), "--id", ids[1]]) == 0
    assert f" {ids[0][:12]} " in capsys.readouterr().out
    assert asked(capsys, "index", str(gallery), "--remove", ids[0][:12])["removed"] == 1


def test_pixels_of_a_box_are_those_of_the_image_when_it_is_gone(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Only a thumbnail is left, but a box in pixels still refers to the image, like a box in shares."""
    photos, gallery = tmp_path / "photos", tmp_path / "gallery"
    (photos / "a").mkdir(parents=True)
    for number, colours in enumerate(("red blue", "blue red")):
        image = Image.new("RGB", (1000, 800), colours.split()[0])
        image.paste(colours.split()[1], (300, 300, 1000, 800))
        image.save(photos / "a" / f"{number}.png")
    assert main(["index", str(run), str(photos), "--to", str(gallery)]) == 0
    one = opened(gallery).rows.ids[0][:12]
    there = asked(capsys, "search", str(gallery), "--id", one, "--box", "500,400,900,700")["hits"]
    photos.rename(tmp_path / "elsewhere")
    gone = asked(capsys, "search", str(gallery), "--id", one, "--box", "500,400,900,700")["hits"]
    shares = asked(capsys, "search", str(gallery), "--id", one, "--box", "0.5,0.5,0.9,0.875")["hits"]
    assert [hit["id"] for hit in gone] == [hit["id"] for hit in there]
    assert [hit["similarity"] for hit in gone] == pytest.approx([hit["similarity"] for hit in there], abs=0.02)
    assert gone == shares


def test_the_beginning_of_several_ids_is_no_image() -> None:
    ids = ["ab" * 16, "ab" * 15 + "cd"]
    rows: Any = SimpleNamespace(
        ids=ids, paths=["a", "b"], label=lambda row: None, of_file=lambda _: [], below=lambda *_: []
    )
    changes.check(rows, [ids[0], ids[1][:31]], None)
    with pytest.raises(DataError, match="the ids of 2 images begin with ababab"):
        changes.check(rows, ["ab" * 15], None)
    with pytest.raises(DataError, match="no image abab:"):
        changes.check(rows, ["abab"], None)


def test_a_command_that_is_proposed_can_be_typed_as_it_is(
    run: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gallery = tmp_path / "my gallery"
    assert main(["index", str(run), "--to", str(gallery), str(photos)]) == 0
    proposed = shlex.split(capsys.readouterr().out.split("next: ")[1].split(";")[1])
    assert main([*proposed[1:-1], str(photos / "class 1" / "0.png")]) == 0
    assert main(["search", str(gallery)]) == 2
    told = capsys.readouterr().err
    assert f"crossbatch search '{gallery}' PHOTO" in told


def test_names_are_no_markup(run: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    odd = tmp_path / "[old] :boar:"
    odd.mkdir()
    (photos / "class 1" / "0.png").rename(odd / "a[")
    (odd / "a[").rename(odd / "a[-b].png")
    (odd / "a[").mkdir()
    shutil.copy(photos / "class 1" / "1.png", odd / "a[" / "b].jpg")
    shutil.copy(photos / "class 1" / "2.png", odd / "a[" / "c].png")
    assert main(["index", str(run), str(odd), "--to", str(odd / "gallery")]) == 0
    assert f"crossbatch serve '{odd / 'gallery'}'" in capsys.readouterr().out
    assert main(["search", str(odd / "gallery"), str(odd / "a[-b].png"), "--html", str(odd / "[/page].html")]) == 0
    said = capsys.readouterr().out
    assert f"{odd / 'a[-b].png'}: 2 of 3 images" in said
    assert "a[/b].jpg" in said
    assert "[/page].html" in said


def test_a_way_out_is_one_of_the_command(
    run: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = photos / "class 1" / "0.png"
    broken.write_bytes(b"no image")
    assert main(["embed", str(run), str(photos), "--out", str(tmp_path / "rows.npz")]) == 2
    assert capsys.readouterr().err.endswith("; leave it out, or give --on_corrupt skip\n")
    assert main(["index", str(run), str(photos), "--to", str(tmp_path / "gallery")]) == 0
    told = [line for line in capsys.readouterr().out.splitlines() if line.startswith("left out: ")]
    assert len(told) == 1
    assert told[0].startswith(f"left out: class 1/0.png: cannot read the image {broken} (")
    assert told[0].endswith(")")


def test_a_place_below_a_file_is_named(
    run: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = photos / "class 1" / "0.png"
    assert main(["index", str(run), str(file), "--to", str(file / "more" / "gallery")]) == 2
    assert f"lies below {file}, which is a file" in capsys.readouterr().err
    assert main(["index", str(run), str(file), "--to", str(tmp_path / "gallery")]) == 0
    for page, told in ((file / "x.html", f"lies below {file}, which is a file"), (photos, "is a folder: name")):
        capsys.readouterr()
        assert main(["search", str(tmp_path / "gallery"), str(file), "--html", str(page)]) == 2
        said = capsys.readouterr()
        assert told in said.err
        assert not said.out
    for words in (
        ["embed", str(run), str(photos), "--out", str(file / "x.parquet")],
        ["export", str(run), "--out", str(file / "x.onnx")],
    ):
        assert main(words) == 2
        assert f"lies below {file}, which is a file" in capsys.readouterr().err


def test_a_kill_before_the_first_description_is_no_obstacle(run: Path, photos: Path, tmp_path: Path) -> None:
    (tmp_path / "gallery").mkdir()
    (tmp_path / "gallery" / f"{description.FILE}.123.partial").write_text("{")
    assert main(["index", str(run), str(photos / "class 1" / "0.png"), "--to", str(tmp_path / "gallery")]) == 0
    assert len(opened(tmp_path / "gallery")) == 1


def killed_at_random(run: Path, root: Path, photos: Path, kills: int, chance: random.Random) -> None:
    """Kill indexing several times, then let it end. Every image is indexed once, and no kill loses an image."""
    gallery, known = root / "gallery", set[str]()
    command = [sys.executable, "-c", "from crossbatch.index import indexing; indexing.CHUNK = 2\n"
               "from crossbatch.__main__ import main; import sys; sys.exit(main(sys.argv[1:]))",
               "index", str(run), str(photos), "--to", str(gallery)]  # fmt: skip
    for _ in range(kills):
        parts = len(list(gallery.glob("part-*.parquet")))
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for _ in range(3000):
            if len(list(gallery.glob("part-*.parquet"))) != parts or process.poll() is not None:
                break
            time.sleep(0.01)
        time.sleep(chance.uniform(0, 0.3))
        process.send_signal(signal.SIGKILL)
        process.wait()
        if description.is_gallery(gallery):
            now = opened(gallery)
            assert known <= set(now.rows.ids)
            assert all(now.thumbnail(row) for row in range(len(now)))
            known = set(now.rows.ids)
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    whole = opened(gallery)
    files = {indexing.digest_of(path.read_bytes()) for path in photos.rglob("*.png")}
    assert sorted(whole.rows.ids) == sorted(files)
    assert whole.description.database.revision == whole.description.revision


def test_killed_while_indexing_it_loses_nothing(run: Path, pictures: Path, tmp_path: Path) -> None:
    for number in range(4):
        shutil.copytree(pictures / f"class {number}", tmp_path / "photos" / f"class {number}")
    killed_at_random(run, tmp_path, tmp_path / "photos", 2, random.Random(0))


@pytest.mark.long
def test_killed_twenty_times_it_loses_nothing(run: Path, pictures: Path, tmp_path: Path) -> None:
    killed_at_random(run, tmp_path, pictures, 20, random.Random(1))
