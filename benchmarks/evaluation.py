"""What the metrics cost: R@1 to R@1000 and MAP@R of 60,502 embeddings against each other, beside an exact search.

Run with `make bench`. The rows are those of SOP's test part in number: 11,316 classes, 128-d, each class a random
direction and noise about it. The peer is `faiss.knn` at K = 1000, exact and with nothing computed from what it finds;
both take turns in one process, three rounds. Peak memory is resident size over what was there before, of one call in a
process of its own.
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
        call(*(column[:2000] for column in given))  # what is loaded with the first call is nobody's peak
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
