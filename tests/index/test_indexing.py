"""Tests of indexing: an image goes into a gallery by its content, exactly once, and by one model only."""

import shutil
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from galleries import indexed, model_in, opened
from PIL import Image

from crossbatch.__main__ import main
from crossbatch.data.data_set import DataSet
from crossbatch.encoder import Encoder, load
from crossbatch.index import description, projection
from crossbatch.index.sources import found_in, found_in_data_set
from crossbatch.index.writer import writing


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return model_in(tmp_path_factory.mktemp("run"))


@pytest.fixture
def photos(pictures: Path, tmp_path: Path) -> Path:
    """Two classes of six pictures."""
    for name in ("class 1", "class 2"):
        shutil.copytree(pictures / name, tmp_path / "photos" / name)
    return tmp_path / "photos"


@pytest.fixture(autouse=True)
def _no_umap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(projection, "FEW", 10**9)  # UMAP takes half a minute to compile


def test_rows_are_what_the_model_gives(run: Path, photos: Path, tmp_path: Path) -> None:
    outcome = indexed(tmp_path / "gallery", run, [photos])
    gallery = opened(tmp_path / "gallery")
    assert (outcome.added, len(gallery)) == (12, 12)
    paths = [photos / gallery.rows.image(row).path for row in range(12)]
    np.testing.assert_allclose(gallery.rows.embeddings, load(run).embed(paths), atol=1e-6)
    assert {gallery.rows.image(row).label for row in range(12)} == {"class 1", "class 2"}
    assert {(one.width, one.height) for one in map(gallery.rows.image, range(12))} == {(16, 16)}


def test_nothing_is_embedded_twice(run: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    embed = Encoder.embed_readable

    def counted(self: Encoder, images: list[object], **options: int) -> object:
        seen.append(len(images))
        return embed(self, images, **options)

    monkeypatch.setattr(Encoder, "embed_readable", counted)
    shutil.copy(photos / "class 1" / "0.png", photos / "class 2" / "a copy.png")
    first = indexed(tmp_path / "gallery", run, [photos])
    assert (first.added, first.copies, seen) == (12, 1, [12])
    Image.new("RGB", (20, 10), "red").save(photos / "class 1" / "new.png")
    second = indexed(tmp_path / "gallery", run, [photos])
    assert (second.added, second.known, seen) == (1, 12, [12, 1])


def test_an_image_that_moved_to_another_folder_has_its_label(run: Path, photos: Path, tmp_path: Path) -> None:
    indexed(tmp_path / "gallery", run, [photos])
    (photos / "class 3").mkdir()
    (photos / "class 1" / "0.png").rename(photos / "class 3" / "moved.png")
    again = indexed(tmp_path / "gallery", run, [photos])
    assert (again.added, again.changed) == (0, 1)
    gallery = opened(tmp_path / "gallery")
    (found,) = np.flatnonzero(gallery.rows.labelled(["class 3"]))
    assert gallery.rows.image(int(found)).path == "class 3/moved.png"


def test_what_cannot_be_read_is_told_and_left_out(run: Path, photos: Path, tmp_path: Path) -> None:
    (photos / "class 1" / "text.png").write_text("no image")
    (photos / "class 1" / "half.png").write_bytes((photos / "class 1" / "0.png").read_bytes()[:200])
    outcome = indexed(tmp_path / "gallery", run, [photos])
    assert outcome.added == 12
    assert outcome.unreadable.keys() == {"class 1/text.png", "class 1/half.png"}
    assert "it is text" in outcome.unreadable["class 1/text.png"]


def test_links_that_lead_out_of_the_folder_are_told(
    run: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = "note: links lead out of the folder to {} of the files; the search page shows only small pictures of"
    linked = tmp_path / "linked"
    (linked / "class 2").mkdir(parents=True)
    (linked / "class 1").symlink_to(photos / "class 1")
    for name in ("0.png", "1.png"):
        (linked / "class 2" / name).symlink_to(photos / "class 2" / name)
    for _ in range(2):  # the second time all are known
        assert main(["index", str(run), str(linked), "--to", str(tmp_path / "gallery")]) == 0
        assert told.format(8) in capsys.readouterr().out
    assert opened(tmp_path / "gallery").picture(0).kind == "thumbnail"
    assert main(["index", str(run), str(photos), "--to", str(tmp_path / "gallery")]) == 0
    assert "links lead out" not in capsys.readouterr().out
    assert opened(tmp_path / "gallery").picture(0).kind == "original"


def test_links_within_the_folder_are_not_told(run: Path, photos: Path, tmp_path: Path) -> None:
    (photos / "class 3").mkdir()
    (photos / "class 3" / "link.png").symlink_to("../class 1/0.png")
    (tmp_path / "the same").symlink_to(photos)
    for number, folder in enumerate((photos, tmp_path / "the same")):
        assert indexed(tmp_path / f"gallery{number}", run, [folder]).linked == 0


def test_another_model_is_refused_and_both_are_named(
    run: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = model_in(tmp_path / "other", seed=1, dim=8)
    words = [str(photos), "--to", str(tmp_path / "gallery")]
    assert main(["index", str(run), *words]) == 0
    before = (tmp_path / "gallery" / description.FILE).read_bytes()
    assert main(["index", str(other), *words]) == 2
    told = capsys.readouterr().err
    assert load(run).fingerprint in told
    assert load(other).fingerprint in told
    assert "16 numbers" in told
    assert "8 numbers" in told
    assert (tmp_path / "gallery" / description.FILE).read_bytes() == before


def test_a_data_set_without_files(run: Path, glyphs: DataSet, tmp_path: Path) -> None:
    found = found_in_data_set(glyphs)
    assert len(found) == sum(len(part) for part in glyphs.parts.values())
    outcome = indexed(tmp_path / "gallery", run, found=found[:40])
    gallery = opened(tmp_path / "gallery")
    assert outcome.added == len(gallery) == 40
    image = gallery.rows.image(0)
    assert image.path == found[0].path
    assert image.label in image.path
    shown = gallery.picture(0)
    assert (shown.kind, shown.type) == ("thumbnail", "image/png")
    assert (
        np.asarray(Image.open(BytesIO(shown.content))).tolist()
        == np.asarray(glyphs.images.read(found[0].number)).tolist()
    )


def test_labels_of_folders_that_say_what_images_are_for(tmp_path: Path, pictures: Path) -> None:
    for place in ("train/cat", "val/dog", "test/cat"):
        (tmp_path / place).mkdir(parents=True)
        shutil.copy(pictures / "class 1" / "0.png", tmp_path / place / "x.png")
    assert {one.label for one in found_in([tmp_path])[0]} == {"cat", "dog"}
    assert found_in([tmp_path / "train" / "cat"])[0][0].label is None


def test_a_gallery_that_moved_with_its_images_shows_them(run: Path, photos: Path, tmp_path: Path) -> None:
    indexed(tmp_path / "home" / "gallery", run, [photos])
    assert opened(tmp_path / "home" / "gallery").picture(0).kind == "original"
    shutil.copytree(tmp_path / "home", tmp_path / "away" / "home")
    shutil.copytree(photos, tmp_path / "away" / "photos")
    shutil.rmtree(photos)
    moved = opened(tmp_path / "away" / "home" / "gallery")
    assert moved.picture(0).kind == "original"
    assert moved.notes == []
    shutil.rmtree(tmp_path / "away" / "photos")
    assert moved.picture(0).kind == "thumbnail"
    assert "is gone" in moved.notes[0]


@pytest.mark.parametrize("rows", [2, 3, 20])
def test_a_map_has_a_place_for_each_image(rows: int, run: Path, photos: Path, tmp_path: Path) -> None:
    some = found_in([photos])[0][: min(rows, 12)]
    indexed(tmp_path / "gallery", run, found=some)
    with writing(tmp_path / "gallery") as writer:
        assert projection.draw_map(writer) == (None if rows < 3 else "pca")
        assert projection.draw_map(writer) is None
    gallery = opened(tmp_path / "gallery")
    assert set(gallery.map()) == (set() if rows < 3 else set(gallery.rows.ids))


def test_a_new_image_is_put_beside_its_copy_in_the_map(run: Path, photos: Path, tmp_path: Path) -> None:
    indexed(tmp_path / "gallery", run, [photos])
    with writing(tmp_path / "gallery") as writer:
        projection.draw_map(writer)
    before = opened(tmp_path / "gallery").map()
    Image.open(photos / "class 1" / "0.png").save(photos / "class 1" / "again.bmp")
    indexed(tmp_path / "gallery", run, [photos])
    with writing(tmp_path / "gallery") as writer:
        projection.draw_map(writer)
    gallery = opened(tmp_path / "gallery")
    after = gallery.map()
    assert all(after[one] == before[one] for one in before)
    (new,) = set(after) - set(before)
    hits = gallery.search(gallery.rows.embeddings[[gallery.rows.position[new]]], 5, without=[new])[0]
    near = np.array([before[hit.image.id] for hit in hits])
    assert (near.min(0) <= after[new]).all()
    assert (after[new] <= near.max(0)).all()


def test_a_map_is_found_anew_once_the_gallery_has_grown_by_half(run: Path, pictures: Path, tmp_path: Path) -> None:
    """Growth counts from the last fit of the map, not from the last time that images were added to it."""
    found, fitted = found_in([pictures])[0], []
    for images in (12, 17, 22):
        indexed(tmp_path / "gallery", run, found=found[:images], mapped=True)
        fitted.append(description.read(tmp_path / "gallery").map.fitted)
    assert fitted == [12, 12, 22]


def test_a_map_of_many_is_found_from_a_draw_of_all_of_them(
    run: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Images come class by class, so the first ones have few classes."""
    found, pca = list[np.ndarray](), projection._pca
    monkeypatch.setattr(projection, "FITTED", 6)
    monkeypatch.setattr(projection, "_pca", lambda rows: found.append(rows) or pca(rows))
    indexed(tmp_path / "gallery", run, [photos], mapped=True)
    gallery = opened(tmp_path / "gallery")
    drawn = [int((gallery.rows.embeddings == row).all(1).argmax()) for row in found[0]]
    assert len(set(drawn)) == gallery.description.map.fitted == 6
    assert {gallery.rows.label(row) for row in drawn} == {"class 1", "class 2"}
    assert set(gallery.map()) == set(gallery.rows.ids)


@pytest.mark.long
def test_umap_puts_what_is_alike_together(
    run: Path, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(projection, "FEW", 32)
    indexed(tmp_path / "gallery", run, [pictures])
    with writing(tmp_path / "gallery") as writer:
        assert projection.draw_map(writer) == "umap"
    gallery = opened(tmp_path / "gallery")
    places = gallery.map()
    at = np.array([places[one] for one in gallery.rows.ids])
    apart = np.linalg.norm(at[:, None] - at, axis=2) + 1e9 * np.eye(len(at))
    same = gallery.rows.label_of[apart.argmin(1)] == gallery.rows.label_of
    assert same.mean() > 0.8
