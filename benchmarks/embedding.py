"""Compare how many images per second are embedded: by crossbatch, and by a textbook loop of torchvision and DataLoader.

Run with `python -m benchmarks.embedding RUN PHOTOS`, where RUN is a run folder and PHOTOS holds images. Both embed the
same files with the same network in single precision, and take turns. The textbook loop decodes with PIL, and resizes,
crops the centre and normalises with torchvision. It is tried with several numbers of workers and batch sizes of 64 and
256 on a part of the images; the fastest combination is used. Its network is in torch's default memory format, channels
first. A further number is for the same loop with channels last, the format that crossbatch uses on a CPU. Memory is
the peak of `crossbatch embed` over a quarter of the images and over all images. Other work on the machine distorts the
result.
"""

import argparse
import csv
import itertools
import os
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

import crossbatch
from crossbatch.data.listing import listed
from crossbatch.models import checkpoint

RESULTS = Path(__file__).parent / "results" / "embedding.csv"
CORES = len(os.sched_getaffinity(0))


class Textbook(Dataset[Tensor]):
    """Image files, prepared as in torchvision's examples."""

    def __init__(self, paths: list[Path], model: crossbatch.Encoder) -> None:
        seen = model.preprocess
        self.paths = paths
        self.prepare = transforms.Compose(
            [
                transforms.Resize([round(side * 256 / 224) for side in seen.sides]),
                transforms.CenterCrop(seen.sides),
                transforms.ToTensor(),
                transforms.Normalize(seen.mean, seen.std),
            ]
        )

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Tensor:
        prepared: Tensor = self.prepare(Image.open(self.paths[index]).convert("RGB"))
        return prepared


def textbook(model: Any, network: nn.Module, paths: list[Path], workers: int, batch: int) -> float:
    """Embed the files with the textbook loop and return images per second."""
    start = time.perf_counter()
    with torch.inference_mode():
        rows = [network(images) for images in DataLoader(Textbook(paths, model), batch, num_workers=workers)]
    assert len(torch.cat(rows)) == len(paths)
    return len(paths) / (time.perf_counter() - start)


def ours(model: Any, paths: list[Path]) -> float:
    """Embed the files with crossbatch and return images per second."""
    start = time.perf_counter()
    model.embed(paths)
    return len(paths) / (time.perf_counter() - start)


def peak(run: Path, paths: list[Path]) -> float:
    """Run `crossbatch embed` in its own process and return its peak memory in MB."""
    with TemporaryDirectory() as folder:
        listing = Path(folder, "images.csv")
        with listing.open("w", newline="") as file:
            csv.writer(file).writerows([("path", "label"), *((path.resolve(), "any") for path in paths)])
        command = [sys.executable, "-m", "crossbatch", "embed", run, listing, "--out", Path(folder, "rows.parquet")]
        started = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # noqa: S603
        _, status, used = os.wait4(started.pid, 0)
    assert status == 0
    return used.ru_maxrss / 1024


def main() -> None:
    """Measure, print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("images", type=Path, nargs="+")
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--tried", type=int, default=2000, help="images on which the textbook's workers are chosen")
    parser.add_argument("--most", type=int, help="images, of those that there are")
    options = parser.parse_args()
    torch.set_num_threads(CORES)
    paths = [one.path for one in listed(options.images)[0]][: options.most]
    model = crossbatch.load(options.run)
    plain, _ = checkpoint.load(options.run)
    tried = {
        (workers, batch): textbook(model, plain, paths[: options.tried], workers, batch)
        for workers, batch in itertools.product(range(CORES + 1), (64, 256))
    }
    for (workers, batch), speed in tried.items():
        print(f"textbook, {workers} workers, batches of {batch}: {speed:.0f} images/s", flush=True)
    best = max(tried, key=lambda one: tried[one])
    pairs = []
    for _ in range(options.pairs):
        pairs.append((ours(model, paths), textbook(model, plain, paths, *best)))
        print("crossbatch {:.0f}, textbook {:.0f} images/s".format(*pairs[-1]), flush=True)
    last = textbook(model, plain.to(memory_format=torch.channels_last), paths, *best)
    print(f"textbook, channels last: {last:.0f} images/s", flush=True)
    peaks = [peak(options.run, paths[: len(paths) // 4]), peak(options.run, paths)]
    row = {
        "images": len(paths),
        "network": repr(model).split(": ", 1)[-1].rstrip(")"),
        "crossbatch images/s": round(statistics.median(pair[0] for pair in pairs)),
        "textbook images/s": round(statistics.median(pair[1] for pair in pairs)),
        "textbook channels last images/s": round(last),
        "workers": best[0],
        "batch": best[1],
        "ratio": round(statistics.median(one / other for one, other in pairs), 2),
        "pairs": len(pairs),
        "peak MB of a quarter": round(peaks[0]),
        "peak MB of all": round(peaks[1]),
        "machine": f"{platform.machine()}, {CORES} cores, torch {torch.__version__.split('+')[0]}",
    }
    print(row)
    with RESULTS.open("w", newline="") as file:
        writer = csv.DictWriter(file, row)
        writer.writeheader()
        writer.writerow(row)


if __name__ == "__main__":
    main()
