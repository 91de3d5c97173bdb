"""Measure the search server while eight clients search one gallery for a minute.

    python -m benchmarks.serve_load RUN [--without_graph]

40,000 random images of 64 × 64 are indexed by the model of RUN into a temporary folder, or into --gallery, where a
later call finds them again. Each client then sends one upload after another over loopback. No upload is in the
gallery, so each one must be embedded. The time of one embedding and of one search alone is measured in this process
before the server starts, with the graph if the gallery has one. Adds a row of response times, errors and memory to
benchmarks/results/serve-load.csv.
"""

import argparse
import contextlib
import http.client
import io
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from threadpoolctl import threadpool_limits

from crossbatch import runs
from crossbatch.encoder import load
from crossbatch.index import Gallery
from crossbatch.index.database import bring_in_step
from crossbatch.index.description import Database, Model
from crossbatch.index.indexing import add
from crossbatch.index.kept_model import add_graph, keep, soonest, wants_graph
from crossbatch.index.queries import read_query
from crossbatch.index.sources import Found
from crossbatch.index.writer import writing

SIDE, TOP = 64, 24
UPLOADS = 50  # images per client, drawn before it starts
HEAD = b'--b\r\nContent-Disposition: form-data; name="image"; filename="x.jpg"\r\n\r\n'


class Drawn:
    """Numbered images of random coloured patches. A number always gives the same image."""

    in_memory = True

    def __init__(self, images: int) -> None:
        self.images = images

    def __len__(self) -> int:
        return self.images

    def read(self, index: int) -> Image.Image:
        """The image with this number."""
        chance = np.random.default_rng(index)
        patches = chance.integers(0, 256, (4, 4, 3), dtype=np.uint8).repeat(SIDE // 4, 0).repeat(SIDE // 4, 1)
        return Image.fromarray(patches)

    def name(self, index: int) -> str:
        """The name of the image with this number."""
        return f"drawn {index}"


def filled(gallery: Path, run: Path, images: int, *, graph: bool) -> None:
    model, drawn = load(run), Drawn(images)
    found = [
        Found(drawn.name(number), f"label {number % 100}", images=drawn, number=number) for number in range(images)
    ]
    with writing(gallery, Model.of(model), Database("milvus.db", "crossbatch_load")) as writer:
        keep(run, gallery)
        add(writer, found, model)
        bring_in_step(writer, {})
    if graph and wants_graph(model, gallery):
        add_graph(model, gallery)


def upload(number: int) -> bytes:
    file = io.BytesIO()
    Drawn(0).read(number).save(file, "JPEG", quality=90)
    return file.getvalue()


def alone(gallery: Path, times: int = 50) -> tuple[float, float]:
    """Median seconds of one embedding, including decoding, and of one search."""
    model, opened = load(soonest(gallery)), Gallery(gallery)
    embedding, searching = [], []
    with threadpool_limits(1, user_api="blas"):  # as in the server: two thread pools would slow each other down
        for content in [upload(10**6 + number) for number in range(times)]:
            began = time.perf_counter()
            vector = model.embed([read_query(content).image])
            between = time.perf_counter()
            opened.search(vector, TOP)
            embedding.append(between - began)
            searching.append(time.perf_counter() - between)
    return float(np.median(embedding)), float(np.median(searching))


def client(port: int, number: int, until: float, taken: list[float], wrong: list[str]) -> None:
    link, asked = http.client.HTTPConnection("127.0.0.1", port, timeout=60), 0
    uploads = [upload(10**7 * (number + 1) + one) for one in range(UPLOADS)]
    while time.monotonic() < until:
        content = uploads[asked % UPLOADS]
        asked += 1
        body = HEAD + content + b"\r\n--b--\r\n"
        began = time.perf_counter()
        link.request("POST", "/search", body, {"Content-Type": "multipart/form-data; boundary=b"})
        answer = link.getresponse()
        said = answer.read()
        taken.append(time.perf_counter() - began)
        if answer.status != 200 or said.count(b'"similarity"') != TOP:
            wrong.append(f"{answer.status} {said[:200]!r}")


def resident(pid: int) -> float:
    """Resident memory of a process, in MB."""
    fields = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":" in line)
    return int(fields["VmRSS"].split()[0]) / 1024


def loaded(port: int, clients: int, seconds: float) -> tuple[list[float], list[str]]:
    taken: list[float] = []
    wrong: list[str] = []
    until = time.monotonic() + seconds
    people = [threading.Thread(target=client, args=(port, one, until, taken, wrong)) for one in range(clients)]
    for one in people:
        one.start()
    for one in people:
        one.join()
    return taken, wrong


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--gallery", type=Path)
    parser.add_argument("--images", type=int, default=40_000)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--without_graph", action="store_true")
    given = parser.parse_args(words)
    own = contextlib.nullcontext() if given.gallery else tempfile.TemporaryDirectory(prefix="load-")
    with own as folder:
        measure(given, given.gallery or Path(folder) / "gallery")


def measure(given: argparse.Namespace, gallery: Path) -> None:
    filled(gallery, given.run, given.images, graph=not given.without_graph)
    embedding, searching = alone(gallery)
    command = [sys.executable, "-m", "crossbatch", "serve", str(gallery), "--port", "0"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)  # noqa: S603
    try:
        port = 0
        while not port and server.stdout:
            if not (line := server.stdout.readline()):
                raise SystemExit("the server ended before it printed its address")
            port = int(line.split("127.0.0.1:")[1].split("/")[0]) if "127.0.0.1:" in line else 0
        loaded(port, given.clients, 5)
        before = resident(server.pid)
        taken, wrong = loaded(port, given.clients, given.seconds)
        after = resident(server.pid)
    finally:
        server.terminate()
    p50, p95 = np.percentile(taken, [50, 95])
    result = {
        "network": load(given.run).description.backbone,
        "model": soonest(gallery).suffix.strip(".") or "torch",
        "images": given.images,
        "clients": given.clients,
        "seconds": given.seconds,
        "searches": len(taken),
        "errors": len(wrong),
        "p50, ms": float(p50) * 1e3,
        "p95, ms": float(p95) * 1e3,
        "one embedding, ms": embedding * 1e3,
        "one search, ms": searching * 1e3,
        "p95 ÷ alone": float(p95) / (embedding + searching),
        "memory before, MB": before,
        "memory after, MB": after,
    }
    print(result, *wrong[:3], sep="\n")
    table = Path(__file__).parent / "results" / "serve-load.csv"
    runs.write_table(table, [*(runs.read_table(table) if table.is_file() else []), result])


if __name__ == "__main__":
    main()
