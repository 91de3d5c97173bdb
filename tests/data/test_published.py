"""Tests of the published data sets: official layouts are read as published, and faults are named in one sentence."""

import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image
from releases import RELEASES, cars, cars_of_devkit, empty, in_shop, sop, text, vehicle_id

from crossbatch import data
from crossbatch.data.data_set import DataSet
from crossbatch.data.split import Split
from crossbatch.errors import DataError

SOME = Split(validation_share=0, complete=False)
WHOLE = Split(validation_share=0)


@pytest.fixture(params=RELEASES)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def root(name: str, tmp_path: Path) -> Path:
    return RELEASES[name](tmp_path / "release")


def sizes(found: DataSet) -> dict[str, tuple[int, int]]:
    return {name: (len(part), part.classes) for name, part in found.parts.items()}


def edit(path: Path, change: Callable[[str], str]) -> None:
    path.write_bytes(change(path.read_bytes().decode()).encode())


def test_reads_the_official_layout(name: str, root: Path) -> None:
    found = data.load(name, root, SOME)
    expected = {"train": (24, 6), "test": (20, 5)}
    if name == "in_shop":
        expected = {"train": (24, 6), "query": (10, 5), "gallery": (10, 5)}
    if name == "vehicle_id":
        expected = {"train": (24, 6), "small": (12, 3), "medium": (16, 4), "large": (20, 5)}
    assert sizes(found) == expected
    trained = set(found.train.labels.tolist())
    for search in found.tests.values():
        assert not trained & set(search.query.labels.tolist())
    for part in found.parts.values():
        pairs = {
            found.images.name(i).split("_")[0]: found.class_names[label]
            for label, i in zip(part.labels.tolist(), part.ids.tolist(), strict=True)
        }
        assert pairs
    assert found.images.read(int(found.query.ids[0])).size == (24, 20)


def test_the_label_of_an_image_is_the_listed_one(tmp_path: Path) -> None:
    """In all of these trees, the path contains the class."""
    for name, of_path in {
        "sop": lambda path: path.split("/")[1].split("_")[0],
        "in_shop": lambda path: path.split("/")[-2],
        "vehicle_id": lambda path: str(int(Path(path).stem[:4])),
        "cub": lambda path: path.split("/")[1],
    }.items():
        found = data.load(name, RELEASES[name](tmp_path / name), SOME)
        for part in found.parts.values():
            for label, image in zip(part.labels.tolist(), part.ids.tolist(), strict=True):
                assert found.class_names[label] == of_path(found.images.name(image))


def test_is_found_below_the_folder_it_unpacks_to(tmp_path: Path) -> None:
    sop(tmp_path / "Stanford_Online_Products")
    assert sizes(data.load("sop", tmp_path, SOME)) == {"train": (24, 6), "test": (20, 5)}


def test_img_may_be_at_either_level(tmp_path: Path) -> None:
    nested, flat = (data.load("in_shop", in_shop(tmp_path / (img or "flat"), img=img), SOME) for img in ("Img", ""))
    assert sizes(nested) == sizes(flat)
    assert nested.fingerprint == flat.fingerprint


def test_grey_and_cmyk_images_are_read_as_rgb(tmp_path: Path) -> None:
    root = sop(tmp_path)
    for number, mode in enumerate(("L", "CMYK")):
        Image.new(mode, (8, 8)).save(root / "bicycle_final" / f"1_{number}.jpg")
    found = data.load("sop", root, SOME)
    assert {found.images.read(i).mode for i in range(4)} == {"RGB"}


def test_what_is_not_there_is_named_with_where_to_ask(name: str, tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=rf"is not there .*--data {name} needs ROOT, .* ask for it at https://"
    ) as error:
        data.load(name, tmp_path)
    assert str(tmp_path) in str(error.value)
    with pytest.raises(DataError, match="ROOT is missing"):
        data.load(name)


def test_wrong_counts_are_refused_unless_asked_for(name: str, root: Path) -> None:
    with pytest.raises(
        DataError, match=r"the train part has 24 images of 6 classes where the release has .*--split.complete false"
    ):
        data.load(name, root)
    assert "the train part has 24 images" in data.load(name, root, SOME).notes[0]


def test_a_missing_image_is_named(name: str, root: Path) -> None:
    found = data.load(name, root, SOME)
    victim = Path(found.images.name(7))
    (found.images.root / victim).unlink()
    listed = str(victim).replace(".jpg", ".JPG") if name == "sop" else str(victim)
    with pytest.raises(
        DataError, match=rf"1 of {len(found.images)} listed images not found in .*, the first is {listed}:"
    ):
        data.load(name, root, SOME)


def test_a_class_in_both_halves_is_named(tmp_path: Path) -> None:
    root = sop(tmp_path / "sop")
    edit(root / "Ebay_test.txt", lambda lines: lines.replace(" 7 1 ", " 3 1 "))
    with pytest.raises(DataError, match="classes in both the train and the test part: 1, the first is 3:"):
        data.load("sop", root, SOME)
    root = in_shop(tmp_path / "in_shop")
    listing = root / "Eval" / "list_eval_partition.txt"
    edit(listing, lambda lines: lines.replace("train", "gallery", 1))
    with pytest.raises(DataError, match="in both the train and the gallery part: 1, the first is id_00000001:"):
        data.load("in_shop", root, SOME)
    root = vehicle_id(tmp_path / "vehicle_id")
    edit(root / "train_test_split" / "train_list.txt", lambda lines: lines + "00100 10\n")
    with pytest.raises(DataError, match="in both the train and the large part: 1, the first is 10:"):
        data.load("vehicle_id", root, SOME)


FAULTS = {
    "a row of three columns": (
        "sop", "Ebay_train.txt", lambda s: s.replace("2 1 1 ", "2 1 ", 1), "line 3: expected 4 columns, got 3"
    ),
    "no second file": ("sop", "Ebay_test.txt", None, "Ebay_test.txt cannot be read"),
    "not text": ("sop", "Ebay_train.txt", b"\xff\xfe\x00", "is not text"),
    "an unknown status": (
        "in_shop", "Eval/list_eval_partition.txt", lambda s: s.replace("query", "probe", 1), "got 'probe'"
    ),
    "fewer rows than announced": (
        "in_shop", "Eval/list_eval_partition.txt", lambda s: s.replace("44", "52712", 1),
        "announces 52712 images in its first line and lists 44",
    ),
    "a query item without gallery": (
        "in_shop", "Eval/list_eval_partition.txt",
        lambda s: re.sub(r"(id_00000008 +)gallery", r"\1query", s),
        "1 query items have no gallery image, the first is id_00000008",
    ),
    "one image, two vehicles": (
        "vehicle_id", "train_test_split/test_list_2400.txt", lambda s: s.replace("00060 6", "00060 7"),
        "image 00060 is of vehicle 7 here and of 6 elsewhere",
    ),
    "an image without class": (
        "cub", "image_class_labels.txt", lambda s: s.replace("2 1\n", "", 1), "has no class number for image 2"
    ),
    "a broken struct": ("cars", "cars_annos.mat", b"not a matrix", "cars_annos.mat cannot be read"),
    "no annotations": ("cars", "cars_annos.mat", b"", "cars_annos.mat cannot be read"),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_named_in_one_sentence(fault: str, tmp_path: Path) -> None:
    name, file, change, named = FAULTS[fault]
    root = RELEASES[name](tmp_path / "release")
    if change is None:
        (root / file).unlink()
    elif isinstance(change, bytes):
        (root / file).write_bytes(change)
    else:
        edit(root / file, change)
    with pytest.raises(DataError, match=named) as error:
        data.load(name, root, SOME)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["sop", "in_shop", "vehicle_id"])
def test_full_size_listings_are_split_as_published_in_seconds(name: str, tmp_path: Path) -> None:
    """Listings with the published counts, and empty image files."""
    parts = {
        "sop": lambda: full_sop(tmp_path),
        "in_shop": lambda: full_in_shop(tmp_path),
        "vehicle_id": lambda: full_vehicle_id(tmp_path),
    }[name]()
    began = time.process_time()  # processor time: other processes must not make this fail
    found = data.load(name, tmp_path, WHOLE)
    seconds = time.process_time() - began
    shutil.rmtree(tmp_path)  # up to a quarter of a million files
    assert sizes(found) == parts
    assert found.notes == []
    assert seconds < 3


def spread(images: int, classes: int) -> list[int]:
    """The class of each image, with class sizes as equal as possible."""
    return (torch.arange(images) * classes // images).tolist()


def full_sop(root: Path) -> dict[str, tuple[int, int]]:
    number = 0
    for part, images, classes, first in (("train", 59_551, 11_318, 1), ("test", 60_502, 11_316, 11_319)):
        lines = ["image_id class_id super_class_id path"]
        for label in spread(images, classes):
            number += 1
            lines.append(f"{number} {label + first} 1 sofa_final/{number}_0.JPG")
        text(root / f"Ebay_{part}.txt", lines)
    files(root / "sofa_final", [f"{n}_0.JPG" for n in range(1, number + 1)])
    return {"train": (59_551, 11_318), "test": (60_502, 11_316)}


def full_in_shop(root: Path) -> dict[str, tuple[int, int]]:
    rows = []
    for status, images, classes, first in (
        ("train", 25_882, 3_997, 0), ("query", 14_218, 3_985, 3_997), ("gallery", 12_612, 3_985, 3_997)
    ):  # fmt: skip
        rows += [
            f"img/MEN/Shorts/{status}_{n}.jpg   id_{label + first:08d}   {status}"
            for n, label in enumerate(spread(images, classes))
        ]
    files(root / "img/MEN/Shorts", [Path(row.split()[0]).name for row in rows])
    text(root / "list_eval_partition.txt", [f"{len(rows)}", "image_name item_id evaluation_status", *rows])
    return {"train": (25_882, 3_997), "query": (14_218, 3_985), "gallery": (12_612, 3_985)}


def full_vehicle_id(root: Path) -> dict[str, tuple[int, int]]:
    images = {"train_list": 113_346, "test_list_800": 6_000, "test_list_1600": 12_000, "test_list_2400": 18_000}
    classes = {"train_list": 13_164, "test_list_800": 800, "test_list_1600": 1600, "test_list_2400": 2400}
    for part, count in images.items():
        kind = part.split("_")[0]
        first = 0 if kind == "train" else 13_164
        lines = [f"{kind}{n:06d} {label + first}" for n, label in enumerate(spread(count, classes[part]))]
        text(root / "train_test_split" / f"{part}.txt", lines)
    names = [f"train{n:06d}.jpg" for n in range(113_346)] + [f"test{n:06d}.jpg" for n in range(18_000)]
    files(root / "image", names)
    sizes = {part: (images[part], classes[part]) for part in images}
    return dict(zip(("train", "small", "medium", "large"), sizes.values(), strict=True))


def files(folder: Path, names: list[str]) -> None:
    """Write empty files as hard links to one file, because a link costs less than a file."""
    empty(folder / ".one")
    for start in range(0, len(names), 50_000):  # file systems limit the links to one file
        one = folder / f".{start}"
        one.touch()
        for name in names[start : start + 50_000]:
            (folder / name).hardlink_to(one)


def test_an_image_that_is_listed_twice_is_refused(tmp_path: Path) -> None:
    root = sop(tmp_path / "release")
    edit(root / "Ebay_test.txt", lambda listing: listing.rstrip() + "\n" + listing.rstrip().split("\n")[-1] + "\n")
    with pytest.raises(DataError, match="is listed twice, and would find itself"):
        data.load("sop", root, SOME)


def test_cars_are_read_in_their_later_layout_too(tmp_path: Path) -> None:
    old = data.load("cars", cars(tmp_path / "old"), SOME)
    new = data.load("cars", cars_of_devkit(tmp_path / "new"), SOME)
    assert [len(new.train), len(new.validation), len(new.query)] == [
        len(old.train),
        len(old.validation),
        len(old.query),
    ]
    assert {name.split("/")[0] for name in map(new.images.name, range(len(new.images)))} == {"cars_train", "cars_test"}
    (tmp_path / "new" / "devkit" / "cars_test_annos_withlabels.mat").unlink()
    with pytest.raises(DataError, match=r"lacks cars_test_annos_withlabels.mat, the classes of cars_test: bring it"):
        data.load("cars", tmp_path / "new", SOME)


def test_a_wrong_root_is_told_as_what_it_is(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"nowhere does not exist: --data sop takes the folder Stanford_Online_Products"
    ):
        data.load("sop", tmp_path / "nowhere")
    root = sop(tmp_path / "sop")
    edit(root / "Ebay_train.txt", lambda lines: lines.partition("\n")[2])
    with pytest.raises(DataError, match=r"Ebay_train.txt begins with an image and not with image_id"):
        data.load("sop", root, SOME)
