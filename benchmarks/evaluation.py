"""Measure the cost of the metrics: R@1 to R@1000 and MAP@R of 60,502 embeddings, beside an exact search.

Run with `make bench`. The sizes are those of the test part of SOP: 60,502 rows in 11,316 classes. Embeddings have 128
dimensions; each class is a random direction, and its rows are that direction plus noise. The peer is `faiss.knn` at
K = 1000. It searches exactly and computes no metrics. Both take turns in one process, for three rounds. Peak memory is
the growth of resident memory during one call, measured in a separate process.
"""

import csv
import platform
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import faiss
import torch
from torch import Tensor
from torch.nn.functional import normalize

from benchmarks.floor import interleaved
from benchmarks.resident import peak_mb
from crossbatch.metrics import evaluate

ROWS, CLASSES, DIM, KS = 60_502, 11_316, 128, (1, 10, 100, 1000)
RESULTS = Path(__file__).parent / "results" / "evaluation.csv"


def main() -> None:
    calls = {"crossbatch": ours, "faiss.knn": peer}
    if len(sys.argv) > 1:
        call, given = calls[sys.argv[1]], embeddings()
        call(*(column[:2000] for column in given))  # a first call loads code, which must not count as peak memory
        print(round(peak_mb(lambda: call(*given))))
        return
    rows, labels, ids = embeddings()
    seconds = interleaved({name: lambda call=call: call(rows, labels, ids) for name, call in calls.items()}, 3)
    found = evaluate(rows, labels, ids, rows, labels, ids, KS).summary()
    print(", ".join(f"{name} {value:.3f}" for name, value in found.items() if not name.startswith("IR")))
    table = []
    for name in calls:
        done = subprocess.run(  # noqa: S603
            [sys.executable, "-m", "benchmarks.evaluation", name], capture_output=True, text=True, check=True
        )
        ratio = seconds[name] / seconds["faiss.knn"]
        table.append([name, f"{seconds[name]:.2f}", f"{ratio:.2f}", done.stdout.strip()])
        print(f"{name:12s} {seconds[name]:6.1f} s  {ratio:.2f} × faiss.knn  {done.stdout.strip()} MB")
    with RESULTS.open("w", newline="") as file:
        packages = " ".join(f"{package} {version(package)}" for package in ("torch", "faiss-cpu"))
        file.write(f"# {platform.machine()}, {torch.get_num_threads()} threads, {packages}; {ROWS} × {DIM}\n")
        csv.writer(file, lineterminator="\n").writerows([["contender", "seconds", "of_faiss", "peak_mb"], *table])


def embeddings() -> tuple[Tensor, Tensor, Tensor]:
    draw = torch.Generator().manual_seed(0)
    labels = torch.arange(ROWS) * CLASSES // ROWS
    centers = torch.randn(CLASSES, DIM, generator=draw)
    return normalize(centers[labels] + 1.6 * torch.randn(ROWS, DIM, generator=draw)), labels, torch.arange(ROWS)


def ours(rows: Tensor, labels: Tensor, ids: Tensor) -> object:
    return evaluate(rows, labels, ids, rows, labels, ids, KS)


def peer(rows: Tensor, labels: Tensor, ids: Tensor) -> object:  # noqa: ARG001
    return faiss.knn(rows.numpy(), rows.numpy(), max(KS), metric=faiss.METRIC_INNER_PRODUCT)


if __name__ == "__main__":
    main()
