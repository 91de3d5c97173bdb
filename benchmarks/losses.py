"""Time forward and backward of every loss over a memory: ours, the plain form, pytorch-metric-learning, and the floor.

Run with `make bench`, or `python -m benchmarks.losses --rows 60000 --losses contrastive triplet`. All contenders of one
memory take turns in one process. Peak memory is the growth of resident memory during one call in a separate process.
That process also finds contenders that take more than 20 s or run out of memory: they are skipped, with a note.
"""

import argparse
import csv
import platform
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Collection, Iterator
from functools import partial
from importlib.metadata import version
from pathlib import Path

import torch

from benchmarks import memories
from benchmarks.floor import CHUNKS, interleaved, timed, two_products, two_products_by_columns
from benchmarks.memories import Memory
from benchmarks.resident import peak_mb
from crossbatch.losses import LOSSES, Pairing, PairLoss
from crossbatch.losses.reference import reference_compare

RESULTS = Path(__file__).parent / "results"
LIMIT_S, LIMIT_BYTES = 20, 12 * 2**30
FIELDS = ("source", "rows", "dim", "batch", "dtype", "loss", "contender", "ms", "of_floor", "peak_mb", "note")
FLOORS = {"floor": two_products, "floor by columns": two_products_by_columns}
Call = Callable[[], object]


def main() -> None:
    options = _options()
    if options.one:
        _one_call(options)
        return
    with _table(options.out) as write:
        for source, rows, dim, batch in _cells(options):
            _measure(source, rows, dim, batch, options, write)


def contenders(loss: str, wanted: Collection[str] | None = None) -> dict[str, Callable[[Memory, str], Call]]:
    """For each wanted contender, a function that prepares a loss and returns the call to time."""
    parties = {"crossbatch": ours, "plain": plain} | ({"pytorch-metric-learning": peers} if loss in PEERS else {})
    return {name: build for name, build in parties.items() if wanted is None or name in wanted}


def ours(memory: Memory, loss: str, compare: Callable[..., torch.Tensor] = PairLoss.compare) -> Call:
    loss_fn, anchors = LOSSES[loss](), memory.anchors.clone().requires_grad_()
    pairing = Pairing(memory.labels, memory.row_labels)

    def call() -> None:
        anchors.grad = None
        compare(loss_fn, anchors, memory.rows, pairing).backward()

    return call


plain = partial(ours, compare=reference_compare)


# The losses of pytorch-metric-learning, called with `ref_emb` as their CrossBatchMemory does, with their default
# reducers. Similarity is cosine, but NCA and margin use distances. A miner is used where the paper of the loss has one.
PEERS: dict[str, Callable[[], tuple[torch.nn.Module, torch.nn.Module | None]]] = {
    "contrastive": lambda: (_pml().losses.ContrastiveLoss(1, 0.5, distance=_pml().distances.CosineSimilarity()), None),
    "triplet": lambda: (_pml().losses.TripletMarginLoss(0.1, distance=_pml().distances.CosineSimilarity()), None),
    "multi-similarity": lambda: (
        _pml().losses.MultiSimilarityLoss(2, 50, 0.5),
        _pml().miners.MultiSimilarityMiner(0.1),
    ),
    "lifted-structure": lambda: (
        _pml().losses.GeneralizedLiftedStructureLoss(0.5, 1, distance=_pml().distances.CosineSimilarity()),
        None,
    ),
    "nt-xent": lambda: (_pml().losses.NTXentLoss(0.1), None),
    "sup-con": lambda: (_pml().losses.SupConLoss(0.1), None),
    "nca": lambda: (_pml().losses.NCALoss(8), None),
    "circle": lambda: (_pml().losses.CircleLoss(0.4, 80), None),
    "margin": lambda: (_pml().losses.MarginLoss(), None),
}


def peers(memory: Memory, loss: str) -> Call:
    loss_fn, miner = PEERS[loss]()
    anchors = memory.anchors.clone().requires_grad_()

    def call() -> None:
        anchors.grad = None
        pairs = miner(anchors, memory.labels, memory.rows, memory.row_labels) if miner else None
        loss_fn(anchors, memory.labels, pairs, memory.rows, memory.row_labels).backward()

    return call


def _pml():
    import pytorch_metric_learning  # noqa: PLC0415  (its import takes seconds)
    from pytorch_metric_learning import distances, losses, miners  # noqa: F401, PLC0415

    return pytorch_metric_learning


def _measure(source: str, rows: int, dim: int, batch: int, options: argparse.Namespace, write: Callable) -> None:
    memory = _memory(source, rows, dim, batch, options.dtype)
    calls = _floors(memory)
    found: dict[str, tuple[str, str, float | None, str]] = {}
    for loss in options.losses or LOSSES:
        for contender, build in contenders(loss, options.contenders).items():
            peak, note = _probe(source, rows, dim, batch, loss, contender, options.dtype)
            found[f"{loss} {contender}"] = (loss, contender, peak, note)
            if not note:
                calls[f"{loss} {contender}"] = build(memory, loss)
    for call in calls.values():
        call()
    times = interleaved(calls, options.rounds)
    cell = {"source": source, "rows": rows, "dim": dim, "batch": batch, "dtype": options.dtype}
    floor, by_columns = (_best(times, form) for form in FLOORS)
    for name in (floor, by_columns):
        write(cell | {"loss": "", "contender": name} | _timed(times, name, floor))
    for name, (loss, contender, peak, note) in found.items():
        row = cell | {"loss": loss, "contender": contender, "note": note}
        if name in times:
            row |= _timed(times, name, floor) | {"peak_mb": f"{peak:.0f}"}
        write(row)


def _floors(memory: Memory) -> dict[str, Call]:
    """Both forms of the floor at every chunk size. The fastest of each form counts."""
    rows = memory.rows.float()
    return {
        f"{name}, chunks of {chunk}": partial(products, memory.anchors, rows, chunk)
        for name, products in FLOORS.items()
        for chunk in CHUNKS
    }


def _best(times: dict[str, float], form: str) -> str:
    return min((name for name in times if name.startswith(f"{form},")), key=times.__getitem__)


def _timed(times: dict[str, float], name: str, floor: str) -> dict[str, object]:
    return {"ms": f"{times[name] * 1e3:.1f}", "of_floor": f"{times[name] / times[floor]:.2f}"}


def _memory(source: str, rows: int, dim: int, batch: int, dtype: str) -> Memory:
    if source == "trained":
        memory = memories.trained(rows, batch)
    elif source == "random":
        memory = memories.random_unit(rows, dim, batch)
    else:
        memory = memories.near(rows, dim, batch, 0.05)
    return memory._replace(rows=memory.rows.to(getattr(torch, dtype)))


def _probe(
    source: str, rows: int, dim: int, batch: int, loss: str, contender: str, dtype: str
) -> tuple[float | None, str]:
    """Make one call in a separate process. Return its peak memory in MB, or a note that says why it is skipped."""
    given = [source, rows, dim, batch, loss, contender]
    command = [sys.executable, "-m", "benchmarks.losses", "--dtype", dtype, "--one", *map(str, given)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S + 60, check=False)  # noqa: S603
    except subprocess.TimeoutExpired:
        return None, f"skipped: over {LIMIT_S} s"
    if done.returncode == -signal.SIGKILL or "allocate memory" in done.stderr or "MemoryError" in done.stderr:
        return None, f"skipped: out of {LIMIT_BYTES // 2**30} GiB of memory"
    if done.returncode:
        raise SystemExit(f"{contender}, {loss}, {rows:,} rows of {source} failed:\n{done.stderr}")
    seconds, peak = map(float, done.stdout.split())
    return peak, f"skipped: {seconds:.0f} s, over {LIMIT_S} s" if seconds > LIMIT_S else ""


def _one_call(options: argparse.Namespace) -> None:
    source, rows, dim, batch, loss, contender = options.one
    memory = _memory(source, int(rows), int(dim), int(batch), options.dtype)
    small = Memory(memory.anchors, memory.labels, memory.rows[:256], memory.row_labels[:256])
    contenders(loss)[contender](small, loss)()  # a first call loads code, which must not count as peak memory
    resource.setrlimit(resource.RLIMIT_AS, (LIMIT_BYTES, LIMIT_BYTES))
    call = contenders(loss)[contender](memory, loss)
    seconds: list[float] = []
    peak = peak_mb(lambda: seconds.append(timed(call)))
    print(seconds[0], peak)


def _cells(options: argparse.Namespace) -> Iterator[tuple[str, int, int, int]]:
    for source in options.sources:
        for rows in options.rows:
            for dim in options.dims:
                for batch in options.batches:
                    if source != "trained" or dim == 128:
                        yield source, rows, dim, batch


class _table:  # noqa: N801
    """Write rows to the screen and to a CSV file as they come."""

    def __init__(self, name: str) -> None:
        RESULTS.mkdir(exist_ok=True)
        self.file = (RESULTS / f"{name}.csv").open("w", newline="", encoding="utf-8")

    def __enter__(self) -> Callable[[dict[str, object]], None]:
        packages = ", ".join(f"{name} {version(name)}" for name in ("torch", "pytorch-metric-learning", "crossbatch"))
        self.file.write(f"# {platform.machine()}, {torch.get_num_threads()} threads; {packages}\n")
        writer = csv.DictWriter(self.file, FIELDS)
        writer.writeheader()

        def write(row: dict[str, object]) -> None:
            writer.writerow(row)
            self.file.flush()
            print("  ".join(str(row.get(field, "")) for field in FIELDS), flush=True)

        return write

    def __exit__(self, *_: object) -> None:
        self.file.close()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--sources", nargs="+", default=["random", "trained", "near"])
    parser.add_argument("--rows", nargs="+", type=int, default=[60_000])
    parser.add_argument("--dims", nargs="+", type=int, default=[128])
    parser.add_argument("--batches", nargs="+", type=int, default=[64])
    parser.add_argument("--losses", nargs="+", choices=list(LOSSES))
    parser.add_argument("--contenders", nargs="+")
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16"])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--out", default="losses")
    parser.add_argument("--one", nargs=6, help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
