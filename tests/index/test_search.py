"""Tests of searching a gallery: every kind of search finds the nearest rows by cosine."""

import shutil
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch
from galleries import indexed, model_in, opened
from hypothesis import given
from hypothesis import settings as property_settings
from hypothesis import strategies as st
from milvus_lite import MilvusLite
from milvus_lite.adapter.grpc.server import start_server_in_thread

from crossbatch.__main__ import main
from crossbatch.errors import DataError, RunError, SettingError, ShapeError
from crossbatch.index import Gallery, database, description, milvus, projection
from crossbatch.index.search import nearest
from crossbatch.index.writer import Change, writing
from crossbatch.metrics import nearest as judged


def unit_rows(count: int, seed: int) -> np.ndarray:
    rows = np.random.default_rng(seed).integers(-2, 3, (count, 4)).astype(np.float32) + np.float32(0.25)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@given(st.integers(1, 60) | st.integers(61, 900), st.integers(1, 40), st.integers(1, 70), st.integers(0, 9))
@property_settings(max_examples=40)
def test_agrees_with_the_search_of_the_metrics(rows: int, queries: int, top: int, seed: int) -> None:
    gallery, asked = unit_rows(rows, seed), unit_rows(queries, seed + 100)
    found = nearest(asked, gallery, top)
    expected = judged(torch.from_numpy(asked), torch.from_numpy(gallery), top)
    for query, hits, similarities in zip(asked, found, expected.similarities, strict=True):
        assert len(hits) == min(top, rows)
        values = [value for _, value in hits]
        np.testing.assert_allclose(values, similarities[: len(hits)], atol=1e-6)
        np.testing.assert_allclose(gallery[[row for row, _ in hits]] @ query, values, atol=1e-6)
        assert len({row for row, _ in hits}) == len(hits)


def test_rows_that_are_nearly_as_similar_are_neither_lost_nor_told_apart_by_who_else_searches() -> None:
    """Cosines differ by rounding: a query gets the best in double precision, whatever other queries it is with."""
    chance = np.random.default_rng(0)
    for _ in range(200):
        angles = 0.5 + 5e-6 * chance.random(40)
        rows = np.stack([np.cos(angles), np.sin(angles)], 1).astype(np.float32)
        alone, beside = np.float32([[1, 0]]), np.float32([[1, 0], [0, 1], [0.6, 0.8]])
        (hits,), (same, *_) = nearest(alone, rows, 30), nearest(beside, rows, 30)
        exact = rows.astype(np.float64) @ alone[0]
        assert hits == same
        assert [value for _, value in hits] == sorted(exact, reverse=True)[:30]


def test_rows_that_rounding_puts_out_of_order_are_found_all_the_same() -> None:
    """Cosines differ by less than single precision resolves. The best in double precision are found."""
    chance = np.random.default_rng(0)
    for _ in range(50):
        query = chance.normal(size=(1, 64)).astype(np.float32)
        query /= np.linalg.norm(query)
        rows = (query + 3e-5 * chance.normal(size=(640, 64))).astype(np.float32)
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        exact = rows.astype(np.float64) @ query[0].astype(np.float64)
        (hits,) = nearest(query, rows, 10)
        assert [value for _, value in hits] == pytest.approx(sorted(exact, reverse=True)[:10], rel=0, abs=1e-14)
        allowed = chance.random(640) < 0.1
        (hits,) = nearest(query, rows, 10, allowed)
        best = sorted(exact[allowed], reverse=True)[:10]
        assert [value for _, value in hits] == pytest.approx(best, rel=0, abs=1e-14)
        assert allowed[[row for row, _ in hits]].all()


@pytest.fixture(scope="module")
def folder(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A gallery of 72 images with an up-to-date database."""
    root = tmp_path_factory.mktemp("search")
    indexed(root / "gallery", model_in(root / "run"), [pictures], database=True)
    return root / "gallery"


def found_by(gallery: Gallery, **options: object) -> list[tuple[str, float]]:
    rows = gallery.rows.embeddings[:5]
    hits = gallery.search(rows, 7, without=gallery.rows.ids[:5], **options)
    return [(hit.image.id, round(hit.similarity, 4)) for one in hits for hit in one]


@pytest.mark.parametrize("labels", [None, ["class 1", "class 7"], ["no such label"]])
def test_the_database_finds_what_the_table_has(folder: Path, labels: list[str] | None) -> None:
    exact, asked = Gallery(folder, by="exact"), Gallery(folder, by="milvus")
    assert exact.method == ("exact", "the table", 1.0)
    assert asked.method == ("exact", "Milvus Lite", 1.0)
    try:
        assert found_by(asked, labels=labels) == found_by(exact, labels=labels)
        assert bool(found_by(exact, labels=labels)) == (labels != ["no such label"])
    finally:
        asked.close()


def test_labels_and_similarity_filter_and_the_query_is_no_hit(folder: Path) -> None:
    gallery = opened(folder)
    query, one = gallery.rows.embeddings[[3]], gallery.rows.ids[3]
    every = gallery.search(query, 100, without=[one])[0]
    assert len(every) == 71
    assert one not in {hit.image.id for hit in every}
    assert [hit.similarity for hit in every] == sorted((hit.similarity for hit in every), reverse=True)
    some = gallery.search(query, 100, ["class 4"], min_similarity=every[20].similarity, without=[one])[0]
    near = [hit for hit in every if hit.image.label == "class 4" and hit.similarity >= every[20].similarity]
    assert near == some
    assert gallery.search(query, 1)[0][0].image.id == one


def test_what_cannot_be_searched_for(folder: Path) -> None:
    gallery = opened(folder)
    with pytest.raises(ShapeError, match=r"queries of shape \[1, 3\] do not fit embeddings of 16 numbers"):
        gallery.search(np.ones((1, 3), np.float32), 1)
    with pytest.raises(SettingError, match="at least 1 image, got 0"):
        gallery.search(gallery.rows.embeddings[:1], 0)


@pytest.fixture
def copy(folder: Path, tmp_path: Path) -> Path:
    """A copy of the gallery and its database, for tests that change it."""
    shutil.copytree(folder, tmp_path / "gallery")
    return tmp_path / "gallery"


def in_database(folder: Path) -> dict[str, int]:
    described = description.read(folder)
    with milvus.connected(folder, described.database.uri, {}) as client:
        return client.collection(described.database.collection, 16).labels()


def in_table(folder: Path) -> dict[str, int]:
    rows = opened(folder).rows
    return {one: milvus.label_number(rows.label(row)) for row, one in enumerate(rows.ids)}


@pytest.mark.parametrize("damage", ["none", "gone", "lost rows", "strangers", "damaged"])
def test_the_table_rebuilds_the_database(damage: str, copy: Path) -> None:
    with writing(copy) as writer:
        writer.remove({opened(copy).rows.ids[0]})
        damaged(copy, damage)
        found = database.bring_in_step(writer, {})
    assert found.revision == writer.description.revision
    assert in_database(copy) == in_table(copy)
    assert len(in_table(copy)) == 71


def damaged(copy: Path, damage: str) -> None:
    local, described, rows = copy / "milvus.db", description.read(copy), opened(copy).rows
    if damage == "gone":
        shutil.rmtree(local)
    elif damage == "damaged":
        for file in local.rglob("*"):
            if file.suffix in (".parquet", ".json", ".idx", ".prev"):
                file.write_bytes(b"damaged")
    elif damage != "none":
        with milvus.connected(copy, described.database.uri, {}) as client:
            collection = client.collection(described.database.collection, 16)
            if damage == "lost rows":
                collection.remove(rows.ids[:5])
            else:
                collection.put(["f" * 32], [3], rows.embeddings[:1])


def test_a_label_that_changes_changes_in_the_database_too(copy: Path) -> None:
    rows = opened(copy).rows
    one, path = rows.ids[0], rows.image(0).path
    with writing(copy) as writer:
        writer.update({one: Change(path, "a new label", *rows.place(0))})
        database.bring_in_step(writer, {})
    assert in_database(copy) == in_table(copy)
    assert in_database(copy)[one] == milvus.label_number("a new label")


def test_while_the_database_lags_the_table_answers_and_says_so(copy: Path) -> None:
    gallery = Gallery(copy, by="milvus")
    assert gallery.method.by == "Milvus Lite"
    with writing(copy) as writer:
        writer.remove({opened(copy).rows.ids[0]})
    assert gallery.refresh()
    assert gallery.method == ("exact", "the table, until the database is in step", 1.0)
    assert found_by(gallery) == found_by(opened(copy))


def test_a_database_that_another_process_has_open_is_left_alone(
    copy: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(projection, "FEW", 10**9)
    one, before = opened(copy).rows.ids[0], description.read(copy).database
    held = MilvusLite(str(copy / "milvus.db"))
    assert main(["index", str(copy), "--remove", one]) == 0
    assert "is open in another process" in " ".join(capsys.readouterr().out.split())
    assert description.read(copy).database == before
    assert held.list_collections() == [before.collection]
    held.close()
    assert main(["index", str(copy)]) == 0
    assert "another process" not in capsys.readouterr().out
    assert in_database(copy) == in_table(copy)


def test_a_database_that_is_gone_or_fails_is_named_and_found_again(
    copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gallery, local = Gallery(copy, by="milvus"), copy / "milvus.db"
    local.rename(copy / "elsewhere")
    assert main(["search", str(copy), "--id", gallery.rows.ids[0], "--by", "milvus"]) == 2
    told = capsys.readouterr().err
    assert "milvus.db is gone: crossbatch index" in told
    assert told.count("\n") == 1
    assert not local.exists()
    local.mkdir()  # a database without the collection
    assert main(["search", str(copy), "--id", gallery.rows.ids[0], "--by", "milvus"]) == 2
    assert "milvus.db failed" in capsys.readouterr().err
    with pytest.raises(RunError, match=r"milvus\.db failed"):
        found_by(gallery)
    shutil.rmtree(local)
    (copy / "elsewhere").rename(local)
    assert found_by(gallery) == found_by(opened(copy))
    gallery.close()


def test_beyond_a_size_hnsw_answers_and_its_recall_is_measured(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(milvus, "FLAT_ROWS", 50)
    with writing(copy) as writer:
        found = database.bring_in_step(writer, {})
    assert found.kind == "HNSW"
    assert found.recall_at_10 is not None
    assert found.recall_at_10 > 0.95
    gallery = Gallery(copy, by="milvus")
    assert gallery.method == ("hnsw", "Milvus Lite", found.recall_at_10)
    asked, exact = ({(n // 7, one) for n, (one, _) in enumerate(found_by(by))} for by in (gallery, opened(copy)))
    assert len(asked & exact) > 0.9 * len(exact)
    gallery.close()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """Milvus Lite's own server on loopback. The answers of a real cluster are not tested."""
    running, held, port = start_server_in_thread(str(tmp_path / "server.db"))
    yield f"http://127.0.0.1:{port}"
    running.stop(grace=1)
    held.close()


def test_a_server_by_the_same_calls(copy: Path, server: str) -> None:
    with writing(copy) as writer:
        writer.keep_database(description.Database(server, "crossbatch_there"))
        database.bring_in_step(writer, {"token": "root:Milvus"})
    gallery = Gallery(copy, {"token": "root:Milvus"})
    assert gallery.method.by == f"Milvus at {server}"
    assert found_by(gallery, labels=["class 1"]) == found_by(Gallery(copy, by="exact"), labels=["class 1"])
    gallery.close()


def test_a_server_that_stops_while_it_is_asked_is_named(copy: Path, tmp_path: Path) -> None:
    running, held, port = start_server_in_thread(str(tmp_path / "stops.db"))
    with writing(copy) as writer:
        writer.keep_database(description.Database(f"http://127.0.0.1:{port}", "crossbatch_there"))
        database.bring_in_step(writer, {})
    gallery = Gallery(copy, {"timeout": 1})
    assert found_by(gallery)
    running.stop(grace=0)
    held.close()
    with pytest.raises(RunError, match=f"http://127.0.0.1:{port} failed"):
        found_by(gallery)
    with pytest.raises(RunError, match=f"http://127.0.0.1:{port}"):
        found_by(gallery)
    running, held, _ = start_server_in_thread(str(tmp_path / "stops.db"), port=port)
    for _ in range(40):
        with suppress(RunError):  # gRPC waits before it reconnects
            found = found_by(gallery)
            break
        time.sleep(0.25)
    assert found == found_by(Gallery(copy, by="exact"))
    gallery.close()
    running.stop(grace=0)
    held.close()


def test_a_server_that_is_not_there_is_named(copy: Path) -> None:
    with writing(copy) as writer:
        writer.keep_database(description.Database("http://127.0.0.1:9", "x"))
        with pytest.raises(RunError, match=r"http://127\.0\.0\.1:9 cannot be opened"):
            database.bring_in_step(writer, {"timeout": 1})


def test_a_search_from_python_takes_rows_of_any_length_and_refuses_what_has_no_cosine(
    pictures: Path, tmp_path: Path
) -> None:
    indexed(tmp_path / "gallery", model_in(tmp_path / "run"), [pictures / "class 1"])
    gallery = Gallery(str(tmp_path / "gallery"))
    rows = gallery.rows.embeddings[:2]
    assert gallery.search(5 * rows, 3) == gallery.search(rows, 3)
    assert gallery.search(rows.astype(np.float64), 3) == gallery.search(rows, 3)
    for bad in (np.nan, np.inf, 0):
        with pytest.raises(DataError, match="zero or not finite"):
            gallery.search(bad * rows, 3)
    with pytest.raises(SettingError, match="labels are a list, got 'a'"):
        gallery.search(rows, 3, "a")
    with pytest.raises(ShapeError, match="2 queries need as many ids in without, or none, got 1"):
        gallery.search(rows, 3, without=[None])
    with pytest.raises(SettingError, match="by is auto, exact, milvus, got 'bogus'"):
        Gallery(tmp_path / "gallery", by="bogus")
