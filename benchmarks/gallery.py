"""Compare searches among many rows in one run: our exact search, Milvus Lite, and faiss flat and HNSW.

    python -m benchmarks.gallery --rows 100000

Writes a row to benchmarks/results/gallery.csv when a contender is done: seconds to build, size on disk in MB, recall@10
against exact search, and searches per second, with one query at a time and with sixteen together. Seconds are processor
time of all threads of the process, so that other work on the machine does not count. Every contender works inside this
process. Rows are drawn around centres, twenty rows for each centre, as the images of a class are.
"""

import argparse
import shutil
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import faiss
import numpy as np

from crossbatch import runs
from crossbatch.index import milvus
from crossbatch.index.search import nearest

TOP, QUERIES, TOGETHER = 10, 200, 16
CONTENDERS = ["table", "faiss flat", "faiss hnsw", "milvus FLAT", "milvus HNSW"]


def drawn(rows: int, dim: int) -> np.ndarray:
    chance = np.random.default_rng(0)
    found = chance.normal(size=(rows, dim), scale=0.7).astype(np.float32)
    found += chance.normal(size=(-(-rows // 20), dim)).astype(np.float32).repeat(20, 0)[:rows]
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def measured(
    search: Callable[[np.ndarray], list[list[int]]], queries: np.ndarray, truth: list[list[int]], seconds: float
) -> dict[str, float]:
    """Measure recall over all queries, and searches per second. The first search does not count."""
    found = [one for start in range(0, len(queries), TOGETHER) for one in search(queries[start : start + TOGETHER])]
    recall = np.mean([len(set(a) & set(b)) / TOP for a, b in zip(found, truth, strict=True)])
    speeds = {}
    for name, size in (("one at a time", 1), ("sixteen together", TOGETHER)):
        began, done = time.process_time(), 0
        while time.process_time() - began < seconds:
            start = done % (len(queries) - size)
            search(queries[start : start + size])
            done += size
        speeds[name] = done / (time.process_time() - began)
    return {"recall@10": float(recall), **speeds}


def table(rows: np.ndarray) -> tuple[Callable[[np.ndarray], list[list[int]]], float]:
    return lambda queries: [[row for row, _ in hits] for hits in nearest(queries, rows, TOP)], rows.nbytes / 1e6


def faiss_of(kind: str) -> Callable[[np.ndarray], tuple[Callable[[np.ndarray], list[list[int]]], float]]:
    def build(rows: np.ndarray) -> tuple[Callable[[np.ndarray], list[list[int]]], float]:
        if kind == "flat":
            index: Any = faiss.IndexFlatIP(rows.shape[1])
        else:
            index = faiss.IndexHNSWFlat(rows.shape[1], milvus.HNSW["M"], faiss.METRIC_INNER_PRODUCT)
            index.hnsw.efConstruction, index.hnsw.efSearch = milvus.HNSW["efConstruction"], milvus.EF
        index.add(rows)
        size = faiss.serialize_index(index).nbytes / 1e6
        return lambda queries: index.search(queries, TOP)[1].tolist(), size

    return build


def milvus_of(kind: str, folder: Path) -> Callable[[np.ndarray], tuple[Callable[[np.ndarray], list[list[int]]], float]]:
    def build(rows: np.ndarray) -> tuple[Callable[[np.ndarray], list[list[int]]], float]:
        milvus.FLAT_ROWS = len(rows) if kind == "FLAT" else 0
        client = milvus.Client(folder, f"{kind}.db", {})
        collection = client.collection("benchmark", rows.shape[1])
        collection.make(len(rows))
        collection.put([f"{row:032x}" for row in range(len(rows))], [0] * len(rows), rows)
        collection.search(rows[:1], TOP)  # the first search builds the index
        size = sum(file.stat().st_size for file in (folder / f"{kind}.db").rglob("*") if file.is_file()) / 1e6
        return lambda queries: [[int(one, 16) for one, _ in hits] for hits in collection.search(queries, TOP)], size

    return build


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000_000])
    parser.add_argument("--dim", type=int, default=128)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--contenders", nargs="+", default=CONTENDERS)
    parser.add_argument("--out", default="gallery")
    given = parser.parse_args()
    faiss.omp_set_num_threads(1)
    folder = Path(tempfile.mkdtemp(prefix="gallery-"))
    builders = {
        "table": table,
        "faiss flat": faiss_of("flat"),
        "faiss hnsw": faiss_of("hnsw"),
        "milvus FLAT": milvus_of("FLAT", folder),
        "milvus HNSW": milvus_of("HNSW", folder),
    }
    table_file = Path(__file__).parent / "results" / f"{given.out}.csv"
    for count in given.rows:
        rows = drawn(count, given.dim)
        queries = drawn(count, given.dim)[np.random.default_rng(1).permutation(count)[:QUERIES]]
        truth = [[row for row, _ in hits] for hits in nearest(queries, rows, TOP)]
        for name in given.contenders:
            began = time.process_time()
            search, megabytes = builders[name](rows)
            built = time.process_time() - began
            result = {"rows": count, "dim": given.dim, "contender": name, "build, s": round(built, 1)}
            result |= {"size, MB": round(megabytes)}
            result |= {one: round(value, 4) for one, value in measured(search, queries, truth, given.seconds).items()}
            result |= {"versions": f"faiss {version('faiss-cpu')}, milvus-lite {version('milvus-lite')}"}
            print(result, flush=True)
            others = runs.read_table(table_file) if table_file.is_file() else []
            kept = [one for one in others if (one["rows"], one["contender"]) != (str(count), name)]
            runs.write_table(table_file, [*kept, result])
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
