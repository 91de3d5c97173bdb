"""Tests that one folder for each class becomes the parts, and that a refusal says what to do."""

import shutil
from collections import Counter
from importlib import import_module
from pathlib import Path
from shutil import copytree
from zlib import crc32

import pillow_heif
import pytest
import torch
from PIL import Image

from crossbatch import data
from crossbatch.data import csv, image_tree
from crossbatch.data.copies import copies
from crossbatch.data.data_set import DataSet, Part
from crossbatch.data.folder import load
from crossbatch.data.listing import listed
from crossbatch.data.split import Split
from crossbatch.errors import DataError
from crossbatch.training.run_parts import build_parts
from crossbatch.training.settings import Settings

THREE = {f"class{c}": 3 for c in range(10)}


def tree(root: Path, sizes: dict[str, int], suffix: str = ".png") -> Path:
    """Write a folder of small images for each class, all different."""
    for label, size in sizes.items():
        (root / label).mkdir(parents=True, exist_ok=True)
        for number in range(size):
            other = crc32(f"{root.name}/{label}".encode(errors="surrogateescape"))
            Image.new("RGB", (4, 4), (number, other & 255, other >> 8 & 255)).save(root / label / f"{number}{suffix}")
    return root


def names(found: DataSet, part: Part) -> list[tuple[str, str]]:
    """Class and file of each image of a part."""
    pairs = zip(part.labels.tolist(), part.ids.tolist(), strict=True)
    return [(found.class_names[label], Path(found.images.name(image)).as_posix()) for label, image in pairs]


def classes(found: DataSet, part: Part) -> set[str]:
    return {label for label, _ in names(found, part)}


def test_a_part_of_one_class_is_told_what_its_number_is_worth(tmp_path: Path) -> None:
    found = data.load("folder", tree(tmp_path, dict.fromkeys(["a", "b", "c"], 2)))
    assert "no test part given: 1 of 3 classes was held out for test" in found.notes
    assert "the test part has one class, so its R@1 is 1 for any model: bring more classes" in found.notes


def test_without_a_test_part_whole_classes_are_held_out(tmp_path: Path) -> None:
    found = data.load("folder", tree(tmp_path, THREE), Split(validation_share=0.3, test_share=0.3))
    assert found.gallery is None
    parts = [found.train, found.validation, found.query]
    assert [part.classes for part in parts] == [5, 2, 3]
    everything = [pair for part in parts for pair in names(found, part)]
    assert sorted(everything) == [(label, f"{label}/{n}.png") for label in sorted(THREE) for n in range(3)]
    assert sum((Counter(classes(found, part)) for part in parts), Counter()).most_common(1)[0][1] == 1
    assert found.notes == ["no test part given: 3 of 10 classes were held out for test"]
    assert found.images.read(0).mode == "RGB"
    assert (found.channels, len(found.images)) == (3, 30)


def test_the_split_has_a_seed_of_its_own(tmp_path: Path) -> None:
    tree(tmp_path, THREE)
    first, again, other = (load(tmp_path, Split(seed=seed)) for seed in (0, 0, 1))
    assert torch.equal(first.query.ids, again.query.ids)
    assert classes(first, first.query) != classes(other, other.query)
    assert first.fingerprint == other.fingerprint


def test_query_and_gallery_are_the_test_part(tmp_path: Path) -> None:
    tree(tmp_path, THREE)
    tree(tmp_path / "query", {"x": 1, "y": 2})
    tree(tmp_path / "gallery", {"x": 2, "y": 1, "z": 4})
    found = load(tmp_path)
    assert names(found, found.query) == [("x", "query/x/0.png"), ("y", "query/y/0.png"), ("y", "query/y/1.png")]
    assert found.gallery is not None
    assert Counter(label for label, _ in names(found, found.gallery)) == {"x": 2, "y": 1, "z": 4}
    assert classes(found, found.train) | classes(found, found.validation) == set(THREE)
    assert not classes(found, found.train) & classes(found, found.validation)
    assert found.notes == []


def test_beside_query_and_gallery_a_train_folder_holds_the_training_classes(tmp_path: Path) -> None:
    for role in ("train", "query", "gallery"):
        tree(tmp_path / role, THREE if role == "train" else {"x": 2})
    tree(tmp_path / "thumbnails", {"not a class": 5})
    found = load(tmp_path, Split(validation_share=0))
    assert classes(found, found.train) == set(THREE)
    assert all(name.startswith("train/") for _, name in names(found, found.train))
    assert len(found.validation) == 0
    assert found.notes[0] == "thumbnails/ holds images and is no part: they are not read"


def test_classes_in_training_and_test_are_told(tmp_path: Path) -> None:
    for role in ("train", "query", "gallery"):
        tree(tmp_path / role, THREE)
    assert load(tmp_path, Split(validation_share=0)).notes == [
        "10 classes are in both training and test: results are closed-set"
    ]


def test_labels_are_names_sorted_as_text(tmp_path: Path) -> None:
    """10 comes before 9, and 007 differs from 7."""
    found = load(tree(tmp_path, {"9": 2, "10": 2, "007": 2, "7": 2, "é": 2}))
    assert found.class_names == ("007", "10", "7", "9", "é")
    for part in (found.train, found.validation, found.query):
        assert all(name.split("/")[0] == label for label, name in names(found, part))


def test_images_are_found_by_suffix_at_any_depth(tmp_path: Path) -> None:
    tree(tmp_path, THREE)
    tree(tmp_path / "class0" / "deeper", {"still": 2}, ".JPG")
    (tmp_path / "class0" / "notes.txt").write_text("no image")
    (tmp_path / "class0" / "folder.png").mkdir()
    (tmp_path / "README.md").write_text("no class")
    Image.new("L", (4, 4)).save(tmp_path / "of no class.png")
    found = load(tmp_path)
    assert len(found.images) == 32
    assert len(found.class_names) == 10


def test_classes_of_one_image_stay(tmp_path: Path) -> None:
    """They serve as negatives and gallery rows."""
    found = load(tree(tmp_path, THREE | {"single": 1}))
    assert ("single", "single/0.png") in names(found, found.train + found.validation + found.query)


def test_refuses_a_draw_that_leaves_a_part_without_a_pair(tmp_path: Path) -> None:
    """It is refused before training. Another seed may give a better draw."""
    tree(tmp_path, {"a": 2, "b": 2} | dict.fromkeys("cdefgh", 1))
    outcomes = set()
    for seed in range(20):
        split = Split(validation_share=0, test_share=0.3, seed=seed)
        try:
            found = load(tmp_path, split)
            outcomes.add("drawn")
            assert all(part.classes < len(part) for part in (found.train, found.query))
        except DataError as error:
            outcomes.add(str(error))
    way_out = "part has two images: change the share, or have other classes drawn with --split.seed"
    assert outcomes == {
        "drawn",
        f"with --split.test_share=0.3 no class of the training {way_out}",
        f"with --split.test_share=0.3 no class of the test {way_out}",
    }


def test_the_fingerprint_changes_with_what_is_listed(tmp_path: Path) -> None:
    tree(tmp_path / "a", THREE)
    first = load(tmp_path / "a").fingerprint
    assert len(first) == 8
    assert int(first, 16) >= 0
    assert load(copytree(tmp_path / "a", tmp_path / "moved")).fingerprint == first
    assert load(tree(tmp_path / "b", THREE | {"more": 1})).fingerprint != first
    (tmp_path / "a" / "class0" / "0.png").write_bytes(b"shorter")
    assert load(tmp_path / "a").fingerprint != first


def test_refuses_what_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for root, told in (
        (None, "^--data folder needs ROOT, "),
        (tmp_path / "gone", "gone does not exist: --data folder takes "),
        (tmp_path / "file", "file is a file: --data folder takes "),
    ):
        with pytest.raises(DataError, match=f"{told}a folder with one folder of images per class"):
            load(root)


def test_refuses_a_folder_without_images(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"^no images in .*: expected one folder per class with \.avif, .*\.webp"):
        load(tmp_path)
    Image.new("L", (4, 4)).save(tmp_path / "of no class.png")
    with pytest.raises(DataError, match="expected one folder per class"):
        load(tmp_path)


def test_refuses_classes_without_a_pair(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no class of the data set has two images \(4 images, 4 classes\): a positive"):
        load(tree(tmp_path, dict.fromkeys("abcd", 1)))


def test_refuses_too_few_classes(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"is read as 1 class to train on, 'a'; .* for validation and test it takes 3"):
        load(tree(tmp_path, {"a": 4}))
    with pytest.raises(DataError, match=r"is read as 2 classes to train on, 'a', 'b'; .*it takes 3 or more: a class"):
        load(tree(tmp_path, {"b": 4}))
    assert load(tmp_path, Split(validation_share=0)).train.classes == 1


def test_camera_raw_beside_its_jpeg_is_left_out_and_told(tmp_path: Path) -> None:
    tree(tmp_path, THREE)
    for file in list(tmp_path.rglob("*.png")):
        Image.new("RGB", (8, 8)).save(file.with_suffix(".tif"))
        file.with_suffix(".tif").rename(file.with_suffix(".NEF"))
    found, plain = load(tmp_path), sum(THREE.values())
    assert len(found.images) == plain
    assert f"not read: {plain} × .nef (camera raw: save it as JPEG or PNG)" in found.notes


def test_copies_within_the_test_part_are_told(tmp_path: Path) -> None:
    tree(tmp_path / "train", THREE)
    tree(tmp_path / "test", {"x": 2, "y": 2})
    shutil.copy(tmp_path / "test" / "x" / "0.png", tmp_path / "test" / "x" / "9.png")
    told = "2 files that are copies byte for byte are in the test part, where each finds the other, as "
    assert any(note.startswith(told) for note in load(tmp_path).notes)


def test_copies_among_queries_are_not_told_where_the_gallery_is_apart(tmp_path: Path) -> None:
    tree(tmp_path / "train", THREE)
    for role in ("query", "gallery"):
        tree(tmp_path / role, {"x": 2, "y": 2})
    shutil.copy(tmp_path / "query" / "x" / "0.png", tmp_path / "query" / "x" / "9.png")
    assert not any("each finds the other" in note for note in load(tmp_path).notes)


def test_long_files_of_one_size_that_differ_in_the_middle_alone_are_no_copies(tmp_path: Path) -> None:
    paths = [tmp_path / f"{number}.jpg" for number in range(3)]
    for path, middle in zip(paths, (b"x", b"y", b"x"), strict=True):
        path.write_bytes(b"a" * 10_000 + middle + b"a" * 10_000)
    assert copies(paths, [path.stat().st_size for path in paths]) == [[0, 2]]


def test_validation_images_of_test_classes_are_told(tmp_path: Path) -> None:
    tree(tmp_path / "train", dict.fromkeys("abcdef", 2))
    tree(tmp_path / "val", dict.fromkeys("abcdef", 3))
    assert "6 validation images are of these classes, and not used" in load(tmp_path).notes


@pytest.mark.parametrize(
    ("name", "root", "called"),
    [
        ("folder", "a/photos/", "photos"),
        ("csv", "a/table.csv", "table.csv"),
        ("folder", "/", "folder"),
        ("folder", "a/caf\udce9", "caf\\xe9"),
        ("cub", "a/birds", "cub"),
        ("glyphs", None, "glyphs"),
    ],
)
def test_people_read_the_last_part_of_root_where_the_name_says_only_how_images_lie_there(
    name: str, root: str | None, called: str
) -> None:
    assert data.called(name, root) == called


@pytest.mark.parametrize(("name", "file"), [(name, file) for name, files in data.LISTINGS.items() for file in files])
def test_a_published_data_set_is_known_by_a_file_of_its_own(name: str, file: str, tmp_path: Path) -> None:
    release = import_module(f"crossbatch.data.{name}").RELEASE
    for other in (*release.listings, "image_class_labels.txt") if name in ("cub", "in_shop") else ():
        (tmp_path / other).parent.mkdir(exist_ok=True)  # NABirds and Consumer-to-shop have this file too
        (tmp_path / other).touch()
    assert data.name_for(tmp_path) == "folder"
    assert data.name_for(tmp_path / ("a" * 300)) == "folder"
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).touch()
    assert data.name_for(tmp_path) == name


@pytest.mark.parametrize("role", ["query", "gallery"])
def test_refuses_half_a_test_part(role: str, tmp_path: Path) -> None:
    tree(tmp_path, THREE)
    tree(tmp_path / role, {"x": 2})
    with pytest.raises(DataError, match=r"only one of query/ and gallery/: bring both, or neither"):
        load(tmp_path)
    other = "gallery" if role == "query" else "query"
    (tmp_path / other).mkdir()
    with pytest.raises(DataError, match=f"no images in .*{other}: expected one folder per class"):
        load(tmp_path)


def test_refuses_a_test_part_without_training(tmp_path: Path) -> None:
    for role in ("query", "gallery"):
        tree(tmp_path / role, {"x": 2})
    with pytest.raises(DataError, match=r"no class of the training part has two images \(0 images, 0 classes\)"):
        load(tmp_path)


def test_refuses_queries_that_have_nothing_to_find(tmp_path: Path) -> None:
    tree(tmp_path, THREE)
    tree(tmp_path / "query", {"x": 2})
    tree(tmp_path / "gallery", {"y": 2})
    with pytest.raises(DataError, match="no class of the query images is in the gallery"):
        load(tmp_path)


def test_hidden_things_and_what_systems_leave_are_no_classes(tmp_path: Path) -> None:
    tree(tmp_path, THREE | {".hidden": 3, ".ipynb_checkpoints": 2, "__MACOSX": 2, "@eaDir": 2})
    (tmp_path / "class0" / "._0.png").write_bytes(b"resource fork")
    tree(tmp_path / "class1", {".thumbs": 2})
    found = load(tmp_path)
    assert set(found.class_names) == set(THREE)
    assert len(found.images) == 30
    assert "not read: 2 × hidden, 4 × hidden folders of images" in found.notes


def test_what_is_not_read_is_counted_and_classes_without_an_image_are_named(tmp_path: Path) -> None:
    tree(tmp_path, THREE)
    for name in ("notes.txt", "more.txt", "data.json", "README"):
        (tmp_path / "class0" / name).write_text("no image")
    (tmp_path / "class0" / "clip.mp4").write_bytes(b"\0\0\0\x18ftypisom" + bytes(40))  # starts like HEIC
    (tmp_path / "class1" / "broken.png").symlink_to(tmp_path / "gone.png")
    (tmp_path / "empty class").mkdir()
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.txt").write_text("text")
    found = load(tmp_path)
    assert "not read: 1 × .json, 1 × .mp4, 3 × .txt, 1 × broken links, 1 × without a suffix" in found.notes
    assert "2 class folders hold no image: empty class, texts" in found.notes
    (tmp_path / "empty class").rmdir()
    assert "1 class folder holds no image: texts" in load(tmp_path).notes


def nested(root: Path, categories: int, inner: int) -> Path:
    for category in range(categories):
        tree(root / f"category{category}", {f"product{number}": 3 for number in range(inner)})
    return root


DEEPER = (
    "all {} class folders hold folders of their own (category0/product0, …): each is read as ONE class. If the inner "
    "folders are your classes, move them one level up, or list the images in a table of path,label"
)


def test_classes_that_may_lie_one_level_further_down_are_told(tmp_path: Path) -> None:
    root = nested(tmp_path / "photos", 10, 3)
    assert DEEPER.format(10) in load(root).notes
    Image.new("RGB", (4, 4), "red").save(root / "category3" / "of the category.png")
    assert DEEPER.format(10) in load(root).notes
    tree(root, {f"plain{number}": 3 for number in range(9)})
    assert DEEPER.replace("all {}", "10 of the 19") in load(root).notes
    tree(root, {f"plain{number}": 3 for number in range(9, 11)})
    assert not any("folders of their own" in note for note in load(root).notes)
    assert not any("folders of their own" in note for note in load(nested(tmp_path / "one inside", 10, 1)).notes)


def test_parts_are_no_class_folders_with_classes_inside(tmp_path: Path) -> None:
    for role in ("train", "test"):
        tree(tmp_path / role, THREE)
    assert not any("folders of their own" in note for note in load(tmp_path).notes)
    for role in ("train", "test"):
        nested(tmp_path / "deeper" / role, 4, 3)
    assert DEEPER.format(8) in load(tmp_path / "deeper").notes


@pytest.mark.parametrize("categories", [2, 3])
def test_too_few_classes_are_refused_with_the_reason_that_they_lie_deeper(categories: int, tmp_path: Path) -> None:
    root = nested(tmp_path, categories, 12)
    with pytest.raises(DataError) as refused:
        build_parts(Settings(data="folder", root=root), load(root))
    assert DEEPER.format(categories) in str(refused.value)


def test_a_table_is_a_way_out_for_classes_that_lie_deeper(tmp_path: Path) -> None:
    root = nested(tmp_path / "photos", 3, 4)
    rows = [f"{file.relative_to(tmp_path)},{file.parts[-3]}/{file.parts[-2]}" for file in sorted(root.rglob("*.png"))]
    (tmp_path / "photos.csv").write_text("\n".join(["path,label", *rows]))
    assert len(csv.load(tmp_path / "photos.csv").class_names) == 12


def test_tables_beside_a_single_folder_of_images_are_named(tmp_path: Path) -> None:
    tree(tmp_path, {"images": 5})
    for name in ("b.csv", "a.TSV", "notes.txt"):
        (tmp_path / name).touch()
    told = r"if a table here has the columns path and label, give it as ROOT: a\.TSV, b\.csv"
    with pytest.raises(DataError, match=f"is read as 1 class to train on, 'images'; .*{told}"):
        load(tmp_path)
    with pytest.raises(DataError, match=r"no images in .*, or a table of path,label .*image beside the class folders"):
        load(tmp_path / "images")
    shutil.rmtree(tmp_path / "images")
    with pytest.raises(DataError, match=f"no images in .*, or a table of path,label .*{told}"):
        load(tmp_path)
    assert not any("ROOT" in note for note in load(tree(tmp_path, THREE)).notes)


@pytest.mark.parametrize("name", ["photos.txt", "photos.xlsx"])
def test_a_table_of_another_kind_is_to_be_saved_as_csv(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"path,label")
    with pytest.raises(DataError, match=r"is a file: .*a table is \.csv, .*: save any other table as \.csv$"):
        data.load(data.name_for(tmp_path / name), tmp_path / name)


def own(folder: Path, *files: str) -> Path:
    """A folder as crossbatch writes it: files of these names, and pictures."""
    tree(folder, {".": 1, "examples/test": 2})
    for file in files:
        (folder / file).touch()
    return folder


@pytest.mark.parametrize("place", ["runs/photos-seed0", "runs/again/photos-seed0", "run", "class0/run"])
@pytest.mark.parametrize(
    ("kind", "files"),
    [
        ("run folder", ("config.yaml", "data.json", "lock")),
        ("run folder", ("config.yaml", "data.json", "circumstances.json")),
        ("gallery folder", ("gallery.json", "model")),
        ("comparison folder", ("config.yaml", "data.json", "comparison.json")),
        ("search folder", ("search.json", "data.json")),
    ],
)
def test_folders_of_crossbatch_are_neither_classes_nor_images(
    place: str, kind: str, files: tuple[str, ...], tmp_path: Path
) -> None:
    before = load(tree(tmp_path, THREE))
    own(tmp_path / place, *files)
    (tmp_path / "runs" / "refused").mkdir(parents=True)
    (tmp_path / place).with_suffix(".log").write_text("what was printed")
    found = load(tmp_path)
    assert found.fingerprint == before.fingerprint
    assert found.class_names == before.class_names
    assert any(note.startswith("not read: ") and f"1 × {kind}" in note for note in found.notes)
    assert sum("no image: runs" in note for note in found.notes) == (not place.startswith("runs"))
    images, notes = listed([tmp_path])
    assert len(images) == 30
    assert any(f"1 × {kind}" in note for note in notes)


def test_a_folder_of_images_may_have_one_file_that_is_named_as_those_of_crossbatch(tmp_path: Path) -> None:
    tree(tmp_path, THREE)
    for name in ("config.yaml", "gallery.json", "search.json", "comparison.json"):
        (tmp_path / "class0" / name).touch()
    assert len(load(tmp_path).images) == 30
    assert len(listed([tmp_path])[0]) == 30


def test_runs_beside_a_single_folder_do_not_hide_that_it_holds_the_classes(tmp_path: Path) -> None:
    tree(tmp_path / "photos", THREE)
    own(tmp_path / "runs" / "photos-seed0", "config.yaml", "data.json", "lock")
    with pytest.raises(DataError, match="has one folder, photos, and that has 10: if these are the classes, give"):
        load(tmp_path)


def test_a_gallery_named_gallery_is_no_part(tmp_path: Path) -> None:
    own(tree(tmp_path, THREE) / "gallery", "gallery.json", "model")
    assert set(load(tmp_path).class_names) == set(THREE)


def test_formats_are_told_by_their_content_where_the_suffix_does_not_say(tmp_path: Path) -> None:
    tree(tmp_path, THREE)
    for kind, name in (
        ("JPEG", "a.jfif"),
        ("AVIF", "b.avif"),
        ("PNG", "without"),
        ("WEBP", "c.dat"),
        ("GIF", "d.PNG_"),
    ):
        Image.new("RGB", (8, 8), (200, 30, 30)).save(tmp_path / "class0" / name, kind)
    found = load(tmp_path)
    assert len(found.images) == 35
    read = [found.images.read(number) for number in range(35)]
    assert sum(image.size == (8, 8) for image in read) == 5


@pytest.mark.parametrize("there", [True, False])
def test_heic_is_read_where_it_can_be_and_else_the_extra_is_named(
    there: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree(tmp_path, THREE)
    for name in ("phone.heic", "phone"):
        pillow_heif.from_pillow(Image.new("RGB", (64, 64), (200, 30, 30))).save(tmp_path / "class0" / f"{name}.heic")
    (tmp_path / "class0" / "phone.heic").rename(tmp_path / "class0" / "phone")
    pillow_heif.from_pillow(Image.new("RGB", (64, 64), (20, 30, 30))).save(tmp_path / "class0" / "other.HEIC")
    monkeypatch.setattr(image_tree, "READS_HEIC", there)
    found = load(tmp_path)
    assert len(found.images) == (33 if there else 30)
    if there:
        assert sum(found.images.read(number).size == (64, 64) for number in range(33)) == 3
    else:
        assert any('.heic (needs pillow-heif: pip install ".[heif]"' in note for note in found.notes)


def test_links_are_followed_to_files_and_from_the_root_to_classes(tmp_path: Path) -> None:
    elsewhere = tree(tmp_path / "elsewhere", {"linked": 3, "deep": 2})
    root = tree(tmp_path / "root", THREE)
    (root / "linked").symlink_to(elsewhere / "linked")
    (root / "class0" / "link.png").symlink_to(elsewhere / "deep" / "0.png")
    (root / "class1" / "round").symlink_to(root)
    (root / "stray.png").write_bytes((root / "class0" / "0.png").read_bytes())
    found = load(root)
    assert "linked" in found.class_names
    assert len(found.images) == 34
    assert "not read: 1 × image beside the class folders, 1 × linked folders below a class" in found.notes
    images, notes = listed([root])  # `embed` and `index` read it this way
    assert {one.label for one in images} == {*found.class_names, None}
    assert len(images) == 35
    assert notes == ["not read: 1 × linked folders below a class"]


def test_a_table_may_leave_labels_out_where_nothing_is_learnt_from_it(tmp_path: Path) -> None:
    tree(tmp_path / "root", THREE)
    (tmp_path / "paths.csv").write_text("path\nroot/class0/0.png\nroot/class1/0.png\n")
    (tmp_path / "some.csv").write_text("path,label\nroot/class0/0.png,\nroot/class1/0.png,b\n")
    assert [[one.label for one in listed([tmp_path / name])[0]] for name in ("paths.csv", "some.csv")] == [
        [None, None],
        [None, "b"],
    ]
    for name, told in (("paths.csv", "has no column label"), ("some.csv", "a row needs a path and a label, got")):
        with pytest.raises(DataError, match=told):
            csv.load(tmp_path / name)


def test_an_image_given_twice_counts_once_and_is_told_and_has_one_label(tmp_path: Path) -> None:
    root = tree(tmp_path / "root", THREE)
    images, notes = listed([root / "class0", root / "class0" / "0.png"])
    assert (len(images), notes) == (len(listed([root / "class0"])[0]), ["1 image was given again: each counts once"])
    for sources in (["paths.csv", "labelled.csv"], ["root", "labelled.csv"], ["labelled.csv", "paths.csv", "root"]):
        (tmp_path / "paths.csv").write_text("path\nroot/class0/0.png\n")
        (tmp_path / "labelled.csv").write_text("path,label\nroot/class0/0.png,z\n")
        found = {str(image.path): image.label for image in listed([tmp_path / name for name in sources])[0]}
        assert found[str(root / "class0" / "0.png")] == "z"
    (tmp_path / "twice.csv").write_text("path,label\nroot/class0/0.png,a\nroot/class0/0.png,b\n")
    with pytest.raises(DataError, match=r"0\.png is one file under two labels, 'a' and 'b': keep the one"):
        listed([tmp_path / "twice.csv"])


def test_an_accent_of_one_sign_and_of_two_is_one_label(tmp_path: Path) -> None:
    """macOS returns file names with accents as separate characters."""
    one, two = "caf\u00e9", "cafe\u0301"
    root = tree(tmp_path / "root", {one: 3, two: 2, "a": 3, "b": 3})
    assert set(load(root).class_names) == {one, "a", "b"}
    assert {image.label for image in listed([root])[0]} == {one, "a", "b"}
    table = "\n".join(["path,label", *(f"root/{name}/{i}.png,{name}" for name in (one, two) for i in (0, 1))])
    (tmp_path / "table.csv").write_text(table, encoding="utf-8")
    assert {image.label for image in listed([tmp_path / "table.csv"])[0]} == {one}
    alike = tree(tmp_path / "alike", {"\uf900": 2, "\u8c48": 2})  # two different characters without accents
    assert {image.label for image in listed([alike])[0]} == {"\uf900", "\u8c48"}


@pytest.mark.parametrize("val", ["val", "valid", "validation", "Val"])
def test_train_val_and_test_are_parts_and_no_classes(val: str, tmp_path: Path) -> None:
    for role, label in (("train", "a"), (val, "b"), ("test", "c")):
        tree(tmp_path / role, {f"{label}{number}": 3 for number in range(4)})
    found = load(tmp_path)
    assert [classes(found, part) for part in (found.train, found.validation, found.query)] == [
        {f"{label}{number}" for number in range(4)} for label in "abc"
    ]
    assert found.gallery is None
    assert any(note.startswith("read as divided already: ") for note in found.notes)


def test_train_and_val_alone_have_a_test_part_held_out(tmp_path: Path) -> None:
    for role in ("train", "val"):
        tree(tmp_path / role, THREE)
    found = load(tmp_path)
    assert len(found.validation) == 21
    assert found.query.classes == 3
    assert not (classes(found, found.train) | classes(found, found.validation)) & classes(found, found.query)
    assert "7 classes are in both training and validation: results are closed-set" in found.notes


def test_all_parts_at_once(tmp_path: Path) -> None:
    for role in ("train", "val", "query", "gallery"):
        tree(tmp_path / role, {f"{role[0]}{number}": 2 for number in range(3)} if role[0] in "tv" else {"x": 2, "y": 2})
    found = load(tmp_path)
    assert [len(part) for part in (found.train, found.validation, found.query, found.gallery)] == [6, 6, 4, 4]


def test_refuses_two_test_parts_and_two_of_one(tmp_path: Path) -> None:
    for role in ("train", "test", "query", "gallery"):
        tree(tmp_path / "a" / role, {"x": 2, "y": 2})
    with pytest.raises(DataError, match=r"has test/ beside query/ and gallery/"):
        load(tmp_path / "a")
    for role in ("train", "val", "valid"):
        tree(tmp_path / "b" / role, {"x": 2, "y": 2})
    with pytest.raises(DataError, match=r"several folders for one part, train, val, valid: keep one"):
        load(tmp_path / "b")


def test_classes_named_as_parts_among_others_are_classes(tmp_path: Path) -> None:
    found = load(tree(tmp_path, {"train": 3, "bus": 3, "car": 3, "test": 3}))
    assert set(found.class_names) == {"train", "bus", "car", "test"}


def test_a_folder_around_the_classes_is_told(tmp_path: Path) -> None:
    tree(tmp_path / "images", THREE)
    with pytest.raises(DataError, match=r"has one folder, images, and that has 10: .* give .*images as ROOT"):
        load(tmp_path)


def test_names_that_are_no_utf_8_or_odd_are_read(tmp_path: Path) -> None:
    odd = ["caf\udce9", "line\nend", "x" * 250, "e\u0301", "\u00e9", "😀"]
    tree(tmp_path, dict.fromkeys(odd, 2))
    found = load(tmp_path, Split(validation_share=0))
    assert len(found.images) == 12
    assert set(found.class_names) == {"caf\\xe9", "line\\nend", "x" * 250, "\u00e9", "😀"}
    for number in range(12):
        found.images.read(number)
        found.images.name(number).encode()
        assert "\n" not in found.images.name(number)


def test_a_link_that_leads_to_itself_is_a_broken_one(tmp_path: Path) -> None:
    tree(tmp_path, THREE)
    (tmp_path / "class0" / "loop.png").symlink_to("loop.png")
    (tmp_path / "class1" / "loop").symlink_to("loop")
    (tmp_path / "loop").symlink_to("loop")
    found = load(tmp_path)
    assert len(found.images) == 30
    assert any("2 × broken links" in note for note in found.notes)


def test_parts_beside_a_folder_of_something_else(tmp_path: Path) -> None:
    """A folder without images is ignored. A folder with images is refused, because its part is unknown."""
    for part in ("Training", "testing"):
        tree(tmp_path / part, {f"{part}{number}": 3 for number in range(5)})
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations" / "a.json").write_text("{}")
    found = load(tmp_path)
    assert (found.query.classes, found.train.classes + found.validation.classes) == (5, 5)
    tree(tmp_path, {"unlabelled": 4})
    with pytest.raises(DataError, match=r"has Training/, testing/ beside unlabelled/, which holds images too: move it"):
        load(tmp_path)
