"""Tests of the service while its gallery changes: another model, a late or missing database, removed files."""

import shutil
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from galleries import indexed, model_in, opened, uploaded
from PIL import Image

from crossbatch.encoder import load
from crossbatch.index import Gallery, projection
from crossbatch.index.part_files import Entry
from crossbatch.index.writer import writing
from crossbatch.web.app import create_app


@pytest.fixture
def folder(pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A gallery of six images with a map and an up-to-date database."""
    monkeypatch.setattr(projection, "FEW", 10**9)
    shutil.copytree(pictures / "class 1", tmp_path / "photos" / "a")
    indexed(tmp_path / "gallery", model_in(tmp_path / "run"), [tmp_path / "photos"], database=True, mapped=True)
    return tmp_path / "gallery"


def served(gallery: Gallery) -> TestClient:
    return TestClient(create_app(gallery, lambda: load(gallery.folder / "model")), "http://localhost")


PHOTO = uploaded(Image.new("RGB", (9, 9), "red"))


def test_while_the_database_lags_the_table_answers(folder: Path) -> None:
    gallery = Gallery(folder, by="milvus")
    with served(gallery) as client:
        one = gallery.rows.ids[0]
        assert client.get(f"/similar/{one}").status_code == 200
        with writing(folder) as writer:
            writer.append([Entry("f" * 32, "new.png", None, 9, 9, gallery.thumbnail(0))], gallery.rows.embeddings[:1])
        gallery.refresh()
        found = client.get(f"/similar/{one}")
        assert found.status_code == 200
        assert found.json()["hits"][0]["id"] == "f" * 32
        assert found.json()["search"]["recall_at_10"] == 1.0


def test_a_database_that_is_gone_is_told_in_a_sentence(folder: Path) -> None:
    gallery = Gallery(folder, by="milvus")
    (folder / "milvus.db").rename(folder / "elsewhere")
    with served(gallery) as client:
        answer = client.get(f"/similar/{gallery.rows.ids[0]}")
    assert answer.status_code == 503
    assert "milvus.db is gone: crossbatch index" in answer.json()["error"]


def test_a_gallery_made_anew_with_another_model_shows_its_own_pictures(folder: Path, tmp_path: Path) -> None:
    gallery = opened(folder)
    with served(gallery) as client:
        before, version = client.get("/map"), client.get("/gallery").json()["version"]
        one = gallery.rows.ids[0]
        assert client.get(f"/thumbnails/{one}").status_code == client.post("/search", files=PHOTO).status_code == 200
        shutil.rmtree(folder)
        for number in range(6):
            Image.new("RGB", (16, 16), (40 * number, 0, 9)).save(tmp_path / "photos" / "a" / f"{number}.png")
        indexed(folder, model_in(tmp_path / "other", seed=1), [tmp_path / "photos"], name="another", mapped=True)
        gallery.refresh()
        assert client.get("/gallery").json()["version"] != version
        one = gallery.rows.ids[0]
        expected = opened(folder).thumbnail(0)
        assert client.get(f"/thumbnails/{one}").content == expected
        assert client.get(f"/similar/{one}").status_code == 200
        answer = client.post("/search", files=PHOTO)
        assert (answer.status_code, answer.json()["code"]) == (503, "other_model")
        assert "restart crossbatch serve" in answer.json()["error"]
        after = client.get("/map", headers={"if-none-match": before.headers["etag"]})
        assert after.status_code == 200
        assert set(after.json()["id"]) == set(gallery.rows.ids)


def test_the_map_that_is_sent_is_the_one_of_now(folder: Path) -> None:
    """A page that has the previous map gets the new one."""
    gallery = opened(folder)
    with served(gallery) as client:
        before = client.get("/map")
        with writing(folder) as writer:
            writer.append([Entry("f" * 32, "new.png", None, 9, 9, gallery.thumbnail(0))], gallery.rows.embeddings[:1])
            projection.draw_map(writer)
        gallery.refresh()
        now = client.get("/map", headers={"if-none-match": before.headers["etag"]})
        assert now.status_code == 200
        assert set(now.json()["id"]) == {*before.json()["id"], "f" * 32}
        assert len(client.get("/map", params={"limit": 3}).json()["id"]) == 3
        same = client.get("/map", headers={"if-none-match": now.headers["etag"]})
        assert (same.status_code, same.content) == (304, b"")


def test_a_map_that_a_writer_has_replaced_is_read_anew(folder: Path) -> None:
    gallery = opened(folder)
    with served(gallery) as client:
        with writing(folder) as writer:
            described = writer.description.map
            writer.keep_map(gallery.rows.ids, gallery.rows.embeddings[:, :2], "pca", 6)
        assert described is not None
        assert not (folder / described.file).exists()
        answer = client.get("/map")
        assert answer.status_code == 200
        assert len(answer.json()["id"]) == 6
