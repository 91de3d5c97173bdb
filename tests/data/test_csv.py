"""Tests that a CSV of paths and labels becomes a data set, and that an error names the line."""

import json
import shutil
from pathlib import Path

import pyarrow
import pytest
from PIL import Image
from pyarrow import parquet

from crossbatch import data
from crossbatch.data.csv import load
from crossbatch.data.split import Split
from crossbatch.errors import DataError

LABELS = ["cat", "dog", "eel", "fox"]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Four images for each label, and the path of a CSV that is not written yet."""
    for label in LABELS:
        for number in range(4):
            Image.new("L", (4, 4), number).save(tmp_path / f"{label}{number}.png")
    return tmp_path / "images.csv"


def lines(*roles: str) -> list[str]:
    """One CSV line for each image. With roles, there is one role for each label."""
    ending = (
        {label: f",{role}" for label, role in zip(LABELS, roles, strict=True)} if roles else dict.fromkeys(LABELS, "")
    )
    return [f"{label}{number}.png,{label}{ending[label]}" for label in LABELS for number in range(4)]


def write(root: Path, *rows: str, header: str = "path,label", end: str = "\n", encoding: str = "utf-8") -> Path:
    root.write_bytes(end.join([header, *rows, ""]).encode(encoding))
    return root


def test_without_roles_whole_classes_are_held_out(root: Path) -> None:
    found = data.load("csv", write(root, *lines()))
    parts = [found.train, found.validation, found.query]
    assert [(part.classes, len(part)) for part in parts] == [(2, 8), (1, 4), (1, 4)]
    assert {label for part in parts for label in part.labels.tolist()} == {0, 1, 2, 3}
    assert found.class_names == tuple(LABELS)
    assert found.gallery is None
    for part in parts:
        for label, image in zip(part.labels.tolist(), part.ids.tolist(), strict=True):
            assert found.images.name(image).startswith(found.class_names[label])


@pytest.mark.parametrize("header", ["file_name,class", "Image,Category", "label,filename"])
def test_columns_may_have_the_names_of_other_tools(header: str, root: Path) -> None:
    turned = header.startswith("label")
    rows = [",".join(reversed(row.split(","))) if turned else row for row in lines()]
    assert load(write(root, *rows, header=header)).class_names == tuple(LABELS)


def test_test_rows_beside_query_rows_are_refused(root: Path) -> None:
    rows = [*lines("train", "", "train", "train")[:8], "eel0.png,eel,query", "eel1.png,eel,test"]
    with pytest.raises(DataError, match="has rows of both test and query: keep the role that is the test part"):
        load(write(root, *rows, header="path,label,role"))


def test_json_lines_are_read_as_a_table(root: Path) -> None:
    rows = [dict(zip(("file_name", "label", "width"), (*row.split(","), 4), strict=True)) for row in lines()]
    file = root.parent / "metadata.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)) + "\n\n")
    found = load(file)
    assert found.class_names == tuple(LABELS)
    assert any(note.startswith("columns not read: width") for note in found.notes)
    for line, told in (
        ("{", "line 2 is not JSON"),
        ("[1]", "line 2 is not an object"),
        ('{"path": 1}', "no column label"),
    ):
        file.write_text(f"{json.dumps(rows[0])}\n{line}\n")
        with pytest.raises(DataError, match=told):
            load(file)


def test_roles_say_who_is_searched_where(root: Path) -> None:
    rows = [*lines("train", "", "train", "train")[:8], "eel0.png,eel,query", "eel1.png,eel,gallery"]
    found = load(write(root, *rows, header="path,label,role"), Split(validation_share=0))
    assert sorted({found.class_names[label] for label in found.train.labels.tolist()}) == ["cat", "dog"]
    assert [found.images.name(int(image)) for image in found.query.ids] == ["eel0.png"]
    assert found.gallery is not None
    assert [found.images.name(int(image)) for image in found.gallery.ids] == ["eel1.png"]


def test_queries_without_a_gallery_are_searched_among_each_other(root: Path) -> None:
    found = load(write(root, *lines("train", "train", "query", "query"), header="path,label,role"))
    assert found.gallery is None
    assert len(found.query) == 8


def test_an_image_that_is_query_and_gallery_row_is_one_image(root: Path) -> None:
    """With two ids, the image would find itself."""
    rows = [*lines()[:8], *(f"eel{n}.png,eel,{role}" for role in ("query", "gallery") for n in range(4))]
    found = load(write(root, *rows, header="path,label,role"))
    assert found.gallery is not None
    assert found.query.ids.tolist() == found.gallery.ids.tolist()
    assert [found.images.name(int(image)) for image in found.gallery.ids] == [f"eel{n}.png" for n in range(4)]


def test_labels_stay_text(root: Path) -> None:
    names = dict(zip(LABELS, ["007", "7", "7.0", "1e3"], strict=True))
    rows = [f"{label}{number}.png,{names[label]}" for label in LABELS for number in range(4)]
    assert load(write(root, *rows)).class_names == ("007", "1e3", "7", "7.0")


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"], ids=repr)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_what_spreadsheets_write_is_read(root: Path, end: str, encoding: str) -> None:
    """Byte-order mark, any line ending, quotes, further columns and blank lines."""
    Image.new("L", (4, 4)).save(root.parent / "a, b.png")
    rows = [f"{number},{line}" for number, line in enumerate(lines())]
    found = load(
        write(root, *rows, "", '16,"a, b.png",cat', header="number,path,label", end=end, encoding=encoding),
        Split(validation_share=0),
    )
    assert found.class_names == tuple(LABELS)
    assert found.images.name(16) == "a, b.png"
    assert len(found.train) + len(found.query) == 17


def test_paths_are_relative_to_the_csv_or_absolute(root: Path) -> None:
    elsewhere = root.parent / "lists" / "images.csv"
    elsewhere.parent.mkdir()
    rows = [f"../{line}" for line in lines()[:15]]
    found = load(write(elsewhere, *rows, f"{root.parent / 'fox3.png'},fox"))
    assert found.images.read(15).size == (4, 4)


def test_refuses_what_is_no_file(tmp_path: Path) -> None:
    for path, told in (
        (None, "^--data csv needs ROOT, "),
        (tmp_path, " is a folder: --data csv takes "),
        (tmp_path / "gone.csv", "gone.csv does not exist: --data csv takes "),
    ):
        with pytest.raises(DataError, match=f"{told}a .csv, .tsv, .parquet or .jsonl file with path,label"):
            load(path)


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("path,label,Path", "has several columns path"),
        ("path,kind", r"has no column label: its header is path,kind, it must name path .or file_name, filename"),
        ("place,kind", "has no column path and no column label: its header is place,kind"),
        ("path|label", r"has no column path and no column label: its header is path\|label"),
    ],
)
def test_refuses_a_header_without_the_columns(root: Path, header: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        load(write(root, *lines(), header=header))


def test_refuses_a_file_without_rows(root: Path) -> None:
    with pytest.raises(DataError, match=r"no images in .*images.csv: it has a header and no rows"):
        load(write(root))
    root.write_bytes(b"")
    with pytest.raises(DataError, match=r"its header is empty, it must name path .or file_name, filename"):
        load(root)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("gone.png,cat,train", "line 4: there is no image .*gone.png"),
        ("cat0.png,,train", "line 4: a row needs a path and a label, got 'cat0.png' and ''"),
        (",cat,train", "line 4: a row needs a path and a label, got '' and 'cat'"),
        ("cat0.png", "line 4: a row needs a path and a label, got 'cat0.png' and ''"),
        (
            "cat0.png,cat,look",
            "line 4: the role must be one of train, training, val, valid, validation, test, testing, query, gallery, "
            "got 'look'",
        ),
    ],
)
@pytest.mark.parametrize("end", ["\n", "\r\n"], ids=repr)
def test_refuses_a_bad_line_by_its_number(root: Path, row: str, message: str, end: str) -> None:
    with pytest.raises(DataError, match=f"images.csv, {message}"):
        load(write(root, *lines("train", "train", "train", "train")[:2], row, header="path,label,role", end=end))


def test_refuses_a_gallery_without_queries(root: Path) -> None:
    with pytest.raises(DataError, match="has gallery rows and no query rows: mark the images that are searched for"):
        load(write(root, *lines("train", "train", "train", "gallery"), header="path,label,role"))


def test_refuses_queries_that_have_nothing_to_find(root: Path) -> None:
    rows = lines("train", "train", "query", "query")
    with pytest.raises(DataError, match=r"no class of the test part has two images \(1 images, 1 classes\)"):
        load(write(root, *rows[:9], header="path,label,role"))


def test_refuses_classes_without_a_pair(root: Path) -> None:
    with pytest.raises(DataError, match=r"no class of the data set has two images \(4 images, 4 classes\)"):
        load(write(root, *lines()[::4]))


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16-le"])
def test_refuses_another_encoding(root: Path, encoding: str) -> None:
    with pytest.raises(DataError, match=r"images.csv is not UTF-8 text \(.* at byte \d+\); save it as UTF-8"):
        load(write(root, "é.png,cat", encoding=encoding))


def test_refuses_a_quote_that_is_not_closed(root: Path) -> None:
    with pytest.raises(DataError, match=r"images.csv cannot be read as a table \(field .*\): is a quote not closed\?"):
        load(write(root, '"cat0.png,cat', *lines() * 1000))
    with pytest.raises(DataError, match=r"images.csv, line 2: there is no image .*"):
        load(write(root, f"{'x' * 5000}.png,cat"))


def test_a_tsv_is_separated_by_tabs(pictures: Path, tmp_path: Path) -> None:
    places = sorted(pictures.rglob("*.png"))
    table = tmp_path / "table.TSV"
    table.write_text("path\tlabel\n" + "".join(f"{path}\t{path.parent.name}, red\n" for path in places))
    loaded = load(table)
    assert len(loaded.images) == len(places)
    assert loaded.class_names[0] == "class 0, red"


@pytest.mark.parametrize(
    ("header", "separator", "encoding"),
    [
        ("path;label", ";", "utf-8"),
        ("path\tlabel", "\t", "utf-8"),
        ("path, label", ", ", "utf-8"),
        ("Path,Label", ",", "utf-8"),
        (" PATH ; Label ", " ; ", "utf-8-sig"),
        ("path,label", ",", "utf-16"),
    ],
)
def test_tables_as_people_save_them(root: Path, header: str, separator: str, encoding: str) -> None:
    rows = [line.replace(",", separator) for line in lines()]
    found = load(write(root, *rows, header=header, encoding=encoding))
    assert found.class_names == tuple(LABELS)
    assert len(found.images) == 16


def test_the_header_alone_says_what_separates(root: Path) -> None:
    found = load(write(root, *(f"{line};of;a;kind" for line in lines())))
    assert found.class_names == tuple(f"{label};of;a;kind" for label in LABELS)


def test_backslashes_part_folders(root: Path) -> None:
    (root.parent / "deep").mkdir()
    for label in LABELS:
        for number in range(4):
            (root.parent / f"{label}{number}.png").rename(root.parent / "deep" / f"{label}{number}.png")
    found = load(write(root, *[f"deep\\{line}" for line in lines()]))
    assert found.images.read(0).size == (4, 4)


ODD = ["nan", "NA", "null", "001", "1", "1.0", "1e3", "-1", str(2**53), str(2**53 + 1), "true", "née", "日本"]


def numbered(folder: Path, labels: list[str]) -> list[tuple[str, str]]:
    for number, _ in enumerate(labels):
        for image in range(2):
            Image.new("RGB", (4, 4), (number, image, 9)).save(folder / f"n{number}-{image}.png")
    return [(f"n{number}-{image}.png", label) for number, label in enumerate(labels) for image in range(2)]


def test_labels_stay_the_text_they_are(root: Path) -> None:
    rows = [",".join(pair) for pair in numbered(root.parent, ODD)]
    assert load(write(root, *rows)).class_names == tuple(sorted(ODD))


def test_parquet(tmp_path: Path) -> None:
    paths, labels = zip(*numbered(tmp_path, ODD), strict=True)
    file = tmp_path / "table.parquet"
    parquet.write_table(pyarrow.table({"Path": paths, "label": labels, "more": list(range(len(labels)))}), file)
    assert load(file).class_names == tuple(sorted(ODD))
    whole = [2**53 + number // 2 for number, _ in enumerate(labels)]
    parquet.write_table(pyarrow.table({"path": paths, "label": whole}), file)
    assert str(2**53 + 1) in load(file).class_names
    parquet.write_table(pyarrow.table({"path": paths, "label": [None, *labels[1:]]}), file)
    with pytest.raises(DataError, match=r"table.parquet, row 0: a row needs a path and a label, got 'n0-0.png' and ''"):
        load(file)
    file.write_bytes(b"PAR1 no more")
    with pytest.raises(DataError, match=r"table.parquet cannot be read as Parquet \("):
        load(file)


def test_roles_of_a_divided_table(root: Path) -> None:
    found = load(write(root, *lines("train", "Train", "val", "test"), header="path,label,role"))
    assert [(part.classes, len(part)) for part in (found.train, found.validation, found.query)] == [
        (2, 8),
        (1, 4),
        (1, 4),
    ]


def test_one_file_under_two_labels_is_refused_whatever_leads_to_it(root: Path) -> None:
    (root.parent / "deep").mkdir()
    (root.parent / "link.png").symlink_to(root.parent / "cat0.png")
    (root.parent / "hard.png").hardlink_to(root.parent / "cat0.png")
    for other in ("cat0.png", "deep/../cat0.png", "link.png", "hard.png"):
        with pytest.raises(DataError, match=rf"line 2 \(cat0.png\) and line 18 \({other}\) are one file under two"):
            load(write(root, *lines(), f"{other},dog"))
        found = load(write(root, *lines(), f"{other},cat"))
        assert len(found.images) == 16
        assert "1 more path leads to a file that is there already: it is one image" in found.notes


def test_copies_are_told_where_they_inflate_a_number(root: Path) -> None:
    for name, source in (("copy1.png", "cat0.png"), ("copy2.png", "dog0.png"), ("copy3.png", "eel0.png")):
        (root.parent / name).write_bytes((root.parent / source).read_bytes())
    for number, name in enumerate(["cat", "dog", "eel", "fox"]):
        for i in range(1, 4):
            Image.new("RGB", (4, 4), (number, i, 77)).save(root.parent / f"{name}{i}.png")
    Image.new("RGB", (4, 4), (8, 8, 77)).save(root.parent / "dog0.png")
    Image.new("RGB", (4, 4), (9, 8, 77)).save(root.parent / "eel0.png")
    Image.new("RGB", (4, 4), (9, 9, 77)).save(root.parent / "fox0.png")
    (root.parent / "copy2.png").write_bytes((root.parent / "dog0.png").read_bytes())
    (root.parent / "copy3.png").write_bytes((root.parent / "eel0.png").read_bytes())
    rows = [*lines("train", "train", "query", "gallery"), "copy1.png,dog,train", "copy2.png,dog,query"]
    rows += ["copy3.png,eel,gallery", "eel1.png,eel,gallery"]
    found = load(write(root, *rows, header="path,label,role"), Split(validation_share=0))
    told = [note for note in found.notes if "byte for byte" in note]
    assert told == [
        "2 files that are copies byte for byte stand under more than one label, as cat0.png and copy1.png",
        "2 files that are copies byte for byte are in both training and test, as dog0.png and copy2.png",
        "2 files that are copies byte for byte are in both query and gallery, as eel0.png and copy3.png",
    ]


def test_copies_are_told_where_queries_are_the_gallery_and_no_file_is_its_own_copy(root: Path) -> None:
    rows = [*lines("train", "train", "train", "query"), *lines("train", "train", "train", "gallery")[12:]]
    found = load(write(root, *rows, header="path,label,role"))
    assert not any("are in both query and gallery" in note for note in found.notes)
    shutil.copy(root.parent / "fox0.png", root.parent / "copy.png")
    for roles in (("query",), ("gallery",), ("query", "gallery")):
        copy = [f"copy.png,fox,{role}" for role in roles]
        found = load(write(root, *rows, *copy, header="path,label,role"))
        assert any("are in both query and gallery" in note for note in found.notes)


@pytest.mark.parametrize("header", ["path,label,split", "path,label, Split "])
def test_a_column_split_is_read_as_role_if_all_its_values_are_roles(header: str, root: Path) -> None:
    roles = ("Train", "train", "test", "validation")
    found = load(write(root, *lines(*roles), header=header))
    assert {found.class_names[label] for label in found.train.labels.tolist()} == {"cat", "dog"}
    assert {found.class_names[label] for label in found.query.labels.tolist()} == {"eel"}
    assert not any("columns not read" in note for note in found.notes)
    for other in ("extra", ""):
        found = load(write(root, *lines("train", "train", "test", other), header=header))
        assert found.notes[0].startswith("columns not read: split;")
        assert len(found.train) + len(found.validation) + len(found.query) == 16
    rows = [f"{line},train" for line in lines(*roles)]
    found = load(write(root, *rows, header="path,label,role,split"))
    assert found.notes[0].startswith("columns not read: split;")
    assert {found.class_names[label] for label in found.query.labels.tolist()} == {"eel"}


def test_the_names_that_columns_may_have_are_told_where_one_is_missing(root: Path) -> None:
    path, label = r"path \(or file_name, filename, image_path, image\)", r"label \(or class, class_name, category\)"
    with pytest.raises(DataError, match=f"its header is Photo,Produkt,Preis, it must name {path} and {label}$"):
        load(write(root, *lines("1", "1", "1", "1"), header="Photo,Produkt,Preis"))


def test_what_is_not_read_of_a_table_is_told(root: Path) -> None:
    found = load(write(root, *(f"{line},yes" for line in lines()), header="path,label,split"))
    assert found.notes[0] == "columns not read: split; a column named role would give the part of each row"
    assert len(load(write(root, *(f"{line},," for line in lines()))).images) == 16  # spreadsheets add empty fields
    with pytest.raises(DataError, match="line 2 has more fields than the header: put a label that holds ',' into quo"):
        load(write(root, "cat0.png,Smith, John", *lines()[1:]))
    with pytest.raises(DataError, match=r"line 2: there is no image .*nix.png, nor 1 more of 18"):
        load(write(root, "nix.png,cat", "nix2.png,cat", *lines()))
    with pytest.raises(DataError, match="is a quote not closed") as told:
        load(write(root, '"cat0.png,cat', *(lines() * 50)))
    assert len(str(told.value)) < 500
