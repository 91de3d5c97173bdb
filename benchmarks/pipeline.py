"""Images per second in a first epoch with a cold cache: our pipeline and the torchvision textbook pipeline, in one run.

Run with `python -m benchmarks.pipeline --root PHOTOS --enlarge 1000`, where PHOTOS has a folder of photographs for each
class. Both pipelines take turns over the same files, which are dropped from the page cache before each epoch. Both crop
at a scale of 0.2 to 1, resize with antialiasing, flip, and end in normalised float32 batches of 64. Our pipeline uses
its default numbers of processes and threads for a CPU. The textbook is tried with each of `--workers`, and the fastest
counts. With `--train small`, a network also trains on our batches, with several divisions of the cores. Other work on
the machine distorts the result.
"""

import argparse
import csv
import itertools
import os
import platform
import statistics
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from PIL import Image
from torch.utils.data import DataLoader
from torchvision import transforms
from torchvision.datasets import ImageFolder

from crossbatch.data import folder
from crossbatch.data.augment import POLICIES
from crossbatch.data.augmentation import Augmentation
from crossbatch.data.batches import Batch, Reader
from crossbatch.data.data_set import DataSet
from crossbatch.data.split import Split
from crossbatch.data.transforms import Preprocessing
from crossbatch.models import embedder
from crossbatch.training.cores import share_cores, torch_threads
from crossbatch.training.data_module import PKDataModule

RESULTS = Path(__file__).parent / "results" / "pipeline.csv"
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
SIZE, BATCH = 224, 64
FIELDS = ("contender", "workers", "threads", "images_per_second", "least", "most", "waiting", "of_textbook")
CORES = len(os.sched_getaffinity(0))
Name = tuple[str, int, int]  # contender, processes, threads


class Epochs:
    """Batches in which each image occurs once an epoch. It takes the place of `PKBatches` and ignores classes."""

    seed = 0

    def __init__(self, images: int) -> None:
        order = torch.randperm(images, generator=torch.Generator().manual_seed(0))
        self.batches = order.split(BATCH)[: images // BATCH]

    def __len__(self) -> int:
        return BATCH

    def __getitem__(self, step: int) -> torch.Tensor:
        return self.batches[step % len(self.batches)]


def textbook(root: Path, workers: int) -> Iterable[list[torch.Tensor]]:
    """The pipeline of PyTorch's ImageNet example. The v2 transforms take as long."""
    transform = transforms.Compose(
        [
            transforms.RandomResizedCrop(SIZE, scale=(0.2, 1.0)),
            transforms.RandomHorizontalFlip(),
            transforms.ToTensor(),
            transforms.Normalize(MEAN, STD),
        ]
    )
    files = ImageFolder(str(root), transform)
    return DataLoader(files, BATCH, shuffle=True, num_workers=workers, drop_last=True)


def ours(data: DataSet, workers: int) -> Iterator[Batch]:
    preprocessing = Preprocessing(SIZE, 256, 3, MEAN, STD)
    batches, augmentation = Epochs(len(data.train)), Augmentation(preprocessing, POLICIES["photo"])
    feed = PKDataModule(data, batches, preprocessing, augmentation, Reader(data.images), workers)  # type: ignore[arg-type]
    return itertools.islice(feed.train_dataloader(), len(batches.batches))


def main() -> None:
    options = _options()
    with TemporaryDirectory() as temporary:
        root, note = options.root, ""
        if options.enlarge:
            root, note = Path(temporary), f", enlarged from {options.root.name}"
            enlarge(options, root)
        data = folder.load(root, Split(validation_share=0))
        data = replace(data, train=data.train + data.query)
        paths = data.images.paths
        side = statistics.median(max(Image.open(path).size) for path in paths)
        note = f"{len(paths)} files, long side {side:.0f} px{note}"
        print(note)
        rows = fed(root, data, paths, options) + (trained(data, paths, options) if options.train else [])
    write(rows, note)


def fed(root: Path, data: DataSet, paths: list[Path], options: argparse.Namespace) -> list[dict[str, object]]:
    workers, threads = share_cores(in_memory=False, workers=None, on_cpu=True)
    contenders = {("textbook", count, CORES): lambda count=count: textbook(root, count) for count in options.workers}
    contenders["crossbatch", workers, threads] = lambda: ours(data, workers)
    speeds: dict[Name, list[float]] = {name: [] for name in contenders}
    for number in range(options.rounds + 1):
        for name, build in contenders.items():
            forget(paths)
            began, images = time.perf_counter(), 0
            with torch_threads(name[2]):
                for batch in build():
                    assert batch[0].dtype == torch.float32
                    images += len(batch[0])
            if number:  # the first round loads code and does not count
                speeds[name].append(images / (time.perf_counter() - began))
    middle = {name: statistics.median(values) for name, values in speeds.items()}
    best = max(value for name, value in middle.items() if name[0] == "textbook")
    return [row(name, values) | {"of_textbook": f"{middle[name] / best:.2f}"} for name, values in speeds.items()]


def trained(data: DataSet, paths: list[Path], options: argparse.Namespace) -> list[dict[str, object]]:
    """Train a network on our batches, with several divisions of the cores."""
    divisions = sorted({(0, CORES), (1, max(1, CORES - 1)), (1, CORES), (CORES, CORES)})
    names: list[Name] = [(f"training {options.train}", *cores) for cores in divisions]
    speeds: dict[Name, list[float]] = {name: [] for name in names}
    waits: dict[Name, list[float]] = {name: [] for name in names}
    network = embedder.build(options.train, 128, 3, pretrained=False).train()
    for _ in range(options.rounds):
        for name in names:
            forget(paths)
            with torch_threads(name[2]):
                waiting, working, images = epoch(network, ours(data, name[1]))
            speeds[name].append(images / (waiting + working))
            waits[name].append(waiting / (waiting + working))
    return [row(name, speeds[name]) | {"waiting": f"{statistics.median(waits[name]):.2f}"} for name in names]


def epoch(network: torch.nn.Module, batches: Iterator[Batch]) -> tuple[float, float, int]:
    """Seconds spent waiting for batches and training, and the number of images, all after the first step."""
    optimizer = torch.optim.Adam(network.parameters(), lr=0.0)
    waiting = working = 0.0
    images, since = -BATCH, time.perf_counter()
    for pixels, _, _ in batches:
        there = time.perf_counter()
        network(pixels).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
        if images >= 0:
            waiting, working = waiting + there - since, working + time.perf_counter() - there
        since, images = time.perf_counter(), images + len(pixels)
    return waiting, working, images


def enlarge(options: argparse.Namespace, into: Path) -> None:
    """Write enlarged copies of photographs, with this long side: as large as a camera's, though not as sharp."""
    print(f"copies of {options.root}, enlarged to {options.enlarge} px by Lanczos, JPEG quality 90, for this run")
    found = sorted(path for path in options.root.glob("*/*") if path.suffix.lower() in folder.SUFFIXES)
    for path in found[:: max(1, len(found) // options.images)]:
        image = Image.open(path).convert("RGB")
        size = [round(length * options.enlarge / max(image.size)) for length in image.size]
        (into / path.parent.name).mkdir(exist_ok=True)
        image.resize(size, Image.Resampling.LANCZOS).save(into / path.parent.name / f"{path.stem}.jpg", quality=90)


def forget(paths: list[Path]) -> None:
    """Drop the files from the page cache, as if they had never been read."""
    for path in paths:
        file = os.open(path, os.O_RDONLY)
        os.fdatasync(file)
        os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(file)


def row(name: Name, speeds: list[float]) -> dict[str, object]:
    values = (statistics.median(speeds), min(speeds), max(speeds))
    return dict(zip(FIELDS, (*name, *(f"{value:.1f}" for value in values)), strict=False))


def write(rows: list[dict[str, object]], note: str) -> None:
    packages = ", ".join(
        f"{name} {version(name)}" for name in ("torch", "torchvision", "pillow", "simplejpeg", "crossbatch")
    )
    RESULTS.parent.mkdir(exist_ok=True)
    with RESULTS.open("w", newline="", encoding="utf-8") as file:
        file.write(f"# {platform.machine()}, {CORES} cores; {packages}; {note}\n")
        writer = csv.DictWriter(file, FIELDS)
        writer.writeheader()
        writer.writerows(rows)
    for found in rows:
        print("  ".join(f"{name} {value}" for name, value in found.items()))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--enlarge", type=int, default=0, help="long side in pixels of copies made for the run")
    parser.add_argument("--images", type=int, default=1920, help="about so many copies")
    parser.add_argument("--workers", nargs="+", type=int, default=[0, 1, 2], help="of the textbook")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--train", help="a backbone that trains on it, such as small")
    return parser.parse_args()


if __name__ == "__main__":
    main()
