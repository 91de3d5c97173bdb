"""Tests of the table of a gallery: all that was written stays, through joins, removals and interrupted writes."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from galleries import indexed, model_in, opened
from hypothesis import given
from hypothesis import settings as property_settings
from hypothesis import strategies as st

from crossbatch.errors import DataError, RunError
from crossbatch.index import changes, description
from crossbatch.index import writer as writers
from crossbatch.index.database import bring_in_step
from crossbatch.index.description import Database, Model
from crossbatch.index.part_files import Entry
from crossbatch.index.writer import Change, Writer, writing

MODEL = Model("0" * 16, "small", 4, 3, {})


def entry(number: int, label: str | None = None) -> Entry:
    return Entry(f"{number:032x}", f"ordner/{number} 図.png", label, 3, 2, b"\xff\xd8" + bytes([number % 256]))


def vector(number: int) -> np.ndarray:
    found = np.random.default_rng(number).normal(size=4).astype(np.float32)
    return found / np.linalg.norm(found)


def put(writer: Writer, numbers: list[int]) -> None:
    writer.append([entry(one, f"label {one % 3}") for one in numbers], np.stack([vector(one) for one in numbers]))


def holds(folder: Path, numbers: list[int], labels: dict[int, str | None]) -> None:
    gallery = opened(folder)
    assert gallery.rows.ids == [f"{one:032x}" for one in numbers]
    for row, one in enumerate(numbers):
        image = gallery.rows.image(row)
        assert (image.path, image.label, image.width) == (
            f"ordner/{one} 図.png",
            labels.get(one, f"label {one % 3}"),
            3,
        )
        np.testing.assert_array_equal(gallery.rows.embeddings[row], vector(one))
        assert gallery.thumbnail(row)[-1] == one % 256


@given(
    st.lists(st.one_of(st.integers(1, 5), st.sampled_from(["remove", "relabel", "compact", "reopen"])), max_size=12),
    st.randoms(use_true_random=False),
)
@property_settings(max_examples=15)
def test_any_order_of_changes_leaves_what_a_list_would(
    tmp_path_factory: pytest.TempPathFactory, steps: list[int | str], chance: object
) -> None:
    folder = tmp_path_factory.mktemp("gallery")
    numbers: list[int] = []
    labels: dict[int, str | None] = {}
    small, many, fresh = writers.SMALL, writers.MANY, 0
    writers.SMALL, writers.MANY = 4, 3
    try:
        for step in steps:
            with writing(folder, MODEL, Database("milvus.db", "x")) as writer:
                if isinstance(step, int):
                    new = list(range(fresh, fresh + step))
                    put(writer, new)
                    numbers, fresh = numbers + new, fresh + step
                elif step == "remove" and numbers:
                    gone = chance.choice(numbers)
                    assert writer.remove({f"{gone:032x}"}) == 1
                    numbers.remove(gone)
                elif step == "relabel" and numbers:
                    one = chance.choice(numbers)
                    labels[one] = chance.choice([None, "neu"])
                    writer.update({f"{one:032x}": Change(f"ordner/{one} 図.png", labels[one], -1, None)})
                elif step == "compact":
                    writer.compact()
        if steps:
            holds(folder, numbers, labels)
    finally:
        writers.SMALL, writers.MANY = small, many


def test_files_that_nobody_names_are_swept_and_do_no_harm(tmp_path: Path) -> None:
    with writing(tmp_path, MODEL, Database("milvus.db", "x")) as writer:
        put(writer, [1, 2])
    (tmp_path / "part-00000099.parquet.partial").write_bytes(b"half")
    (tmp_path / "part-00000098.parquet").write_bytes(b"never named")
    holds(tmp_path, [1, 2], {})
    with writing(tmp_path) as writer:
        put(writer, [3])
    assert len(list(tmp_path.glob("part-*"))) == 2
    holds(tmp_path, [1, 2, 3], {})


def test_a_reader_keeps_what_it_has_read_while_a_writer_joins_files(tmp_path: Path) -> None:
    with writing(tmp_path, MODEL, Database("milvus.db", "x")) as writer:
        put(writer, [1, 2])
        put(writer, [3])
        before = opened(tmp_path)
        writer.remove({f"{2:032x}"})
        writer.compact()
    assert before.thumbnail(1)[-1] == 2
    assert before.refresh()
    assert not before.refresh()
    assert before.rows.ids == [f"{one:032x}" for one in (1, 3)]


def test_a_second_writer_is_refused(tmp_path: Path) -> None:
    with writing(tmp_path, MODEL, Database("milvus.db", "x")) as writer:
        put(writer, [1])
        with pytest.raises(RunError, match=r"in use by process \d+: wait for its end"), writing(tmp_path):
            pass


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    with writing(tmp_path, MODEL, Database("milvus.db", "x")) as writer:
        put(writer, [1])
    part = next(tmp_path.glob("part-*"))
    part.write_bytes(b"no parquet")
    with pytest.raises(DataError, match=f"{part.name} is damaged"):
        opened(tmp_path)
    for text, told in (
        ("{", "cannot be read"),
        ('{"format": 99}', "has format 99"),
        ('{"format": 1}', "cannot be read"),
    ):
        (tmp_path / description.FILE).write_text(text)
        with pytest.raises((DataError, RunError), match=told):
            opened(tmp_path)


@pytest.mark.parametrize(
    ("field", "name"),
    [
        ("uri", "../victim"),
        ("uri", "."),
        ("uri", "model"),
        ("uri", "x://../victim/milvus.db"),
        ("uri", "http://host/victim.db"),
        ("parts", "../part-1.parquet"),
        ("map", "/tmp/map-1.parquet"),
    ],
)
def test_names_that_lead_out_of_the_gallery_are_refused(tmp_path: Path, field: str, name: str) -> None:
    """A gallery may come from a stranger, and a database that does not open is replaced."""
    victim = tmp_path / "victim" / "precious"
    victim.parent.mkdir()
    victim.write_text("mine")
    with writing(tmp_path / "gallery", MODEL, Database("milvus.db", "x")) as writer:
        put(writer, [1])
    file = tmp_path / "gallery" / description.FILE
    plain = json.loads(file.read_text())
    if field == "uri":
        plain["database"]["uri"] = name
    elif field == "map":
        plain["map"] = {"file": name, "method": "UMAP", "fitted": 1}
    else:
        plain["parts"] = [name]
    file.write_text(json.dumps(plain))
    with pytest.raises(DataError, match=r"gallery.json cannot be read \('"), writing(tmp_path / "gallery") as writer:
        bring_in_step(writer, {})
    with pytest.raises(DataError, match="cannot be read"):
        opened(tmp_path / "gallery")
    assert victim.read_text() == "mine"


def test_a_missing_file_and_pictures_that_cannot_be_read_are_damage(tmp_path: Path) -> None:
    with writing(tmp_path, MODEL, Database("milvus.db", "x")) as writer:
        put(writer, [1])
    part = next(tmp_path.glob("part-*"))
    content, gallery = part.read_bytes(), opened(tmp_path)
    gallery.rows.parts[0].file.close(force=True)
    with pytest.raises(DataError, match=f"{part.name} is damaged"):
        gallery.thumbnail(0)
    part.unlink()
    with pytest.raises(DataError, match=rf"{part.name} is damaged \(it is missing\)"):
        opened(tmp_path)
    with pytest.raises(DataError, match=f"{part.name} is damaged"), writing(tmp_path) as writer:
        writer.compact()
    part.write_bytes(content)
    holds(tmp_path, [1], {})


def test_a_folder_is_known_as_long_as_it_is_that_folder(tmp_path: Path) -> None:
    home, away = tmp_path / "home", tmp_path / "away"
    for place in (home, away):
        (place / "photos").mkdir(parents=True)
    with writing(home / "gallery", MODEL, Database("milvus.db", "x")) as writer:
        assert [writer.root(home / "photos"), writer.root(home), writer.root(home / "photos" / ".")] == [0, 1, 0]
        put(writer, [1])
    shutil.copytree(home / "gallery", away / "gallery")
    with writing(away / "gallery") as writer:
        assert writer.root(home / "photos") == 0
        assert writer.root(away / "photos") == 2  # a new root, as the first folder still exists
    shutil.rmtree(home)
    with writing(away / "gallery") as writer:
        assert writer.root(away / "photos") == 0  # the first root, which has moved with the gallery


def test_a_folder_costs_no_look_at_those_that_are_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looked = list[Path]()
    look = description.Root.places

    def counted(root: description.Root, gallery: Path) -> list[Path]:
        looked.append(gallery)
        return look(root, gallery)

    folders = [tmp_path / f"{number}" for number in range(30)]
    for folder in folders:
        folder.mkdir()
    with writing(tmp_path / "gallery", MODEL, Database("milvus.db", "x")) as writer:
        assert [writer.root(folder) for folder in folders] == list(range(30))
        put(writer, [1])
    monkeypatch.setattr(description.Root, "places", counted)
    with writing(tmp_path / "gallery") as writer:
        assert [writer.root(folder) for folder in folders * 3] == list(range(30)) * 3
    assert len(looked) == 30


def test_a_folder_that_is_no_gallery_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is neither a run folder nor a gallery"):
        opened(tmp_path)
    with pytest.raises(DataError, match=r"there is no folder .*nowhere"), writing(tmp_path / "nowhere"):
        pass
    assert not (tmp_path / "nowhere").exists()


def test_taking_out_and_relabelling_by_name(pictures: Path, tmp_path: Path) -> None:
    shutil.copytree(pictures / "class 1", tmp_path / "photos" / "a")
    indexed(tmp_path / "gallery", model_in(tmp_path / "run"), [tmp_path / "photos"])
    rows = opened(tmp_path / "gallery").rows
    table = tmp_path / "labels.csv"
    table.write_text(f"id,label\n{rows.ids[1]},b\n{rows.ids[2]},\n", encoding="utf-8")
    with writing(tmp_path / "gallery") as writer:
        assert changes.relabel(writer, table) == 2
        assert changes.relabel(writer, table) == 0
        table.write_text("path,label\na/3.png,NEU\na/3.png,ALT\n")
        assert [changes.relabel(writer, table) for _ in range(3)] == [1, 0, 0]  # the last row of an image counts
        assert changes.take_out(writer, ["a/0.png"]) == 1
        with pytest.raises(DataError, match=r"the gallery has no image a/0\.png"):
            changes.take_out(writer, ["a/1.png", "a/0.png"])
    after = opened(tmp_path / "gallery").rows
    assert [after.label(row) for row in range(5)] == ["b", None, "ALT", "a", "a"]
    assert (tmp_path / "photos" / "a" / "0.png").exists()
    for text, told in (
        ("x,y\n", "it must name id or path and label"),
        ("path,label\nnone.png,b\n", "has no image none.png"),
    ):
        table.write_text(text)
        with writing(tmp_path / "gallery") as writer, pytest.raises(DataError, match=told):
            changes.relabel(writer, table)
