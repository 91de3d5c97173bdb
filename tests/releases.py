"""Small trees in the layouts of the official releases, with the irregularities of real copies."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.io import savemat

Write = Callable[[Path], None]


def picture(path: Path) -> None:
    """A small JPEG of noise."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(len(str(path))).integers(0, 256, (20, 24, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path, "JPEG")


def empty(path: Path) -> None:
    """An empty file that only has to exist."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()


def text(path: Path, lines: list[str], end: str = "\n") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes((end.join(lines) + end).encode())


def sop(root: Path, train: int = 6, test: int = 5, images: int = 4, write: Write = picture) -> Path:
    """The listing has upper-case suffixes and CRLF; the files have lower-case suffixes."""
    number = 0
    for name, first, last in (("train", 1, train), ("test", train + 1, train + test)):
        lines = ["image_id class_id super_class_id path"]
        for label in range(first, last + 1):
            for image in range(images):
                number += 1
                lines.append(f"{number} {label} 1 bicycle_final/{label}_{image}.JPG")
                write(root / "bicycle_final" / f"{label}_{image}.jpg")
        text(root / f"Ebay_{name}.txt", lines, "\r\n")
    return root


def in_shop(
    root: Path, train: int = 6, test: int = 5, images: int = 4, write: Write = picture, img: str = "Img"
) -> Path:
    """The listing has several spaces between columns. `img` is the folder that contains img/, if any."""
    rows = []
    for item in range(1, train + test + 1):
        for image in range(images):
            path = f"img/WOMEN/Dresses/id_{item:08d}/{image:02d}_1_front.jpg"
            status = "train" if item <= train else "query" if image < images // 2 else "gallery"
            rows.append(f"{path}      id_{item:08d}    {status}")
            write(root / img / path)
    listing = root / "Eval" / "list_eval_partition.txt" if img else root / "list_eval_partition.txt"
    text(listing, [f"{len(rows)}", "image_name item_id evaluation_status", *rows])
    return root


def vehicle_id(root: Path, train: int = 6, test: int = 5, images: int = 4, write: Write = picture) -> Path:
    """The large list contains the medium list, which contains the small list."""
    rows = [(f"{vehicle:04d}{image}", vehicle) for vehicle in range(train + test) for image in range(images)]
    for image, _ in rows:
        write(root / "image" / f"{image}.jpg")
    lists = {
        "train_list": (0, train),
        "test_list_800": (train, train + max(test - 2, 1)),
        "test_list_1600": (train, train + max(test - 1, 1)),
        "test_list_2400": (train, train + test),
    }
    for name, (first, last) in lists.items():
        lines = [f"{image} {vehicle}" for image, vehicle in rows if first <= vehicle < last]
        text(root / "train_test_split" / f"{name}.txt", lines)
    return root


def cub(root: Path, train: int = 6, test: int = 5, images: int = 4, write: Write = picture) -> Path:
    """Classes from 1 and from 101, with the release's split, which the retrieval protocol does not use."""
    paths, labels = [], []
    for label in (*range(1, train + 1), *range(101, test + 101)):
        for image in range(images):
            path = f"{label:03d}.Bird_{label}/Bird_{image}.jpg"
            paths.append(path)
            labels.append(label)
            write(root / "images" / path)
    text(root / "images.txt", [f"{number} {path}" for number, path in enumerate(paths, 1)])
    text(root / "image_class_labels.txt", [f"{number} {label}" for number, label in enumerate(labels, 1)])
    text(root / "train_test_split.txt", [f"{number} {number % 2}" for number in range(1, len(paths) + 1)])
    return root


def cars(root: Path, train: int = 6, test: int = 5, images: int = 4, write: Write = picture) -> Path:
    """Classes from 1 and from 99, in a MATLAB struct."""
    rows = []
    for label in (*range(1, train + 1), *range(99, test + 99)):
        for _ in range(images):
            path = f"car_ims/{len(rows) + 1:06d}.jpg"
            rows.append((path, 1, 1, 20, 20, label, len(rows) % 2))
            write(root / path)
    names = ["relative_im_path", "bbox_x1", "bbox_y1", "bbox_x2", "bbox_y2", "class", "test"]
    annotations = np.empty((1, len(rows)), dtype=[(name, object) for name in names])
    annotations[0] = rows
    savemat(root / "cars_annos.mat", {"annotations": annotations, "class_names": np.array(["a", "b"], dtype=object)})
    return root


def cars_of_devkit(root: Path) -> Path:
    """The same cars in the later layout, half of each class in either folder."""
    for part in ("train", "test"):
        rows = []
        for label in (*range(1, 7), *range(99, 104)):
            for _ in range(2):
                rows.append((1, 1, 20, 20, label, f"{len(rows) + 1:05d}.jpg"))
                picture(root / f"cars_{part}" / rows[-1][-1])
        names = ["bbox_x1", "bbox_y1", "bbox_x2", "bbox_y2", "class", "fname"]
        annotations = np.empty((1, len(rows)), dtype=[(name, object) for name in names])
        annotations[0] = rows
        (root / "devkit").mkdir(exist_ok=True)
        labelled = "_withlabels" if part == "test" else ""
        savemat(root / "devkit" / f"cars_{part}_annos{labelled}.mat", {"annotations": annotations})
    return root


RELEASES = {"sop": sop, "in_shop": in_shop, "vehicle_id": vehicle_id, "cub": cub, "cars": cars}
