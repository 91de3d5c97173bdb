"""Kill and stop a run many times: python -m benchmarks.kills [--kills 30] [--terms 10] [--seed N].

One run is left alone. Another run is interrupted by `kill -9` and by SIGTERM to its whole process group, and resumed
each time. Half of the kills come while a checkpoint is being written. The run has no loader processes and two loader
processes in turn. Both runs must end with bit-for-bit the same results. With `--processes` above 1, torchrun starts the
processes, and each interruption hits all of them.
"""

import argparse
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from benchmarks.commands import running
from crossbatch import runs
from crossbatch.durable import PARTIAL

os.environ.setdefault("OMP_NUM_THREADS", "1")  # so sums do not depend on the number of loader processes
SMALL = "--batch.classes 3 --batch.images 2 --model.dim 8 --model.image_size 16 --memory.start 50 --loop.check_every 10"
QUIET = "--loop.accelerator cpu --drift.sample 12"
SUMMARY = ("steps", "best_validation_R@1", "last_validation", "before_training", "after_training", "memory_start")
TIMED = ("Throughput",)  # callbacks whose state is durations
PLACED = ("best_model_path", "last_model_path", "kth_best_model_path", "best_k_models", "dirpath")


def differences(straight: Path, run: Path) -> list[str]:
    """Names of all results in which `run` differs from the uninterrupted run. Empty if all are equal."""
    one, other = (_saved(folder) for folder in (straight, run))
    found = [name for name in sorted(one.keys() | other.keys()) if not _equal(one.get(name), other.get(name))]
    if (straight / "model.safetensors").read_bytes() != (run / "model.safetensors").read_bytes():
        found.append("model.safetensors")
    summaries = [runs.read_summary(folder) for folder in (straight, run)]
    found += [f"summary: {name}" for name in SUMMARY if summaries[0][name] != summaries[1][name]]
    logged = [runs.read_metrics(folder) for folder in (straight, run)]
    found += [f"log: {name}" for name in sorted({*logged[0], *logged[1]}) if logged[0].get(name) != logged[1].get(name)]
    drift = [path.read_bytes() if path.is_file() else b"" for path in (straight / runs.DRIFT, run / runs.DRIFT)]
    found += [runs.DRIFT] if drift[0] != drift[1] else []
    for path in run.glob("logs/csv/*/metrics.csv"):
        rows = path.read_text(encoding="utf-8").splitlines()
        found += [f"{path}: a row twice" for before, row in pairwise(rows) if before == row]
    return found


def _saved(run: Path) -> dict[str, Any]:
    """The last checkpoint as flat pairs, without file paths and durations."""
    checkpoint = torch.load(run / "checkpoints/last.ckpt", weights_only=True)
    kept = {name: checkpoint[name] for name in ("state_dict", "optimizer_states", "lr_schedulers", "global_step")}
    callbacks = {name: value for name, value in checkpoint["callbacks"].items() if not name.startswith(TIMED)}
    return dict(_flat({**kept, "callbacks": callbacks}))


def _flat(value: Any, above: str = "") -> list[tuple[str, Any]]:
    if isinstance(value, Mapping):
        return [pair for name, one in value.items() if name not in PLACED for pair in _flat(one, f"{above}/{name}")]
    if isinstance(value, list):
        return [pair for place, one in enumerate(value) for pair in _flat(one, f"{above}/{place}")]
    return [(above, value)]


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, torch.Tensor):
        return isinstance(other, torch.Tensor) and torch.equal(one, other)
    return bool(one == other)


def draw(root: Path, classes: int = 12, images: int = 6) -> Path:
    """Write classes of 16×16 images: each class is a pattern, and each image is the pattern with noise."""
    chance = np.random.default_rng(0)
    for number in range(classes):
        pattern = chance.integers(0, 256, (4, 4, 3)).repeat(4, 0).repeat(4, 1)
        (root / f"class {number}").mkdir(parents=True)
        for image in range(images):
            noisy = (pattern + chance.normal(0, 20, pattern.shape)).clip(0, 255).astype(np.uint8)
            Image.fromarray(noisy).save(root / f"class {number}" / f"{image}.png")
    return root


def end_at_random(
    words: list[str], run: Path, chance: random.Random, how: str, workers: int, longest: float, processes: int = 1
) -> int:
    """Start or resume the run, end it by `kill`, `kill while saving` or `term`, and return the exit status."""
    go_on = ["train", "--resume", str(run)] if runs.is_begun(run) else ["train", *words, "--out", str(run)]
    checkpoints, told = run / runs.CHECKPOINTS, run.with_suffix(".log")
    with running([*go_on, "--loop.workers", str(workers)], told, processes=processes) as command:
        age = _written(checkpoints)
        command.wait_until(lambda: _written(checkpoints) != age)  # training has begun
        if how == "kill while saving":
            command.wait_until(lambda: any(checkpoints.glob(f"*.ckpt*{PARTIAL}")))
            time.sleep(chance.uniform(0, 0.004))
        else:
            time.sleep(chance.uniform(0, longest))
        command.signal(signal.SIGTERM if how == "term" else signal.SIGKILL, group=True)
        return command.wait()


def _written(checkpoints: Path) -> int:
    try:
        return (checkpoints / f"{runs.LAST}.ckpt").stat().st_mtime_ns
    except OSError:
        return 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--terms", type=int, default=10)
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))  # noqa: S311
    options = parser.parse_args()
    chance = random.Random(options.seed)  # noqa: S311
    ways = (["kill", "kill while saving"] * options.kills)[: options.kills] + ["term"] * options.terms
    chance.shuffle(ways)
    print(f"seed {options.seed}: {len(ways)} ends over {options.steps} steps", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        words = [str(draw(place / "pictures")), *SMALL.split(), *QUIET.split(), "--optim.steps", str(options.steps)]
        straight, run = place / "straight", place / "run"
        with running(
            ["train", *words, "--out", str(straight)], place / "straight.log", processes=options.processes
        ) as command:
            assert command.wait(3600) == 0, command.output
        statuses: dict[str, list[int]] = {}
        for number, how in enumerate(ways):
            if runs.is_finished(run):
                print(f"the run ended after {number} ends: give more --steps")
                break
            status = end_at_random(words, run, chance, how, (number % 2) * 2, 1.0, options.processes)
            statuses.setdefault(how, []).append(status)
            print(f"{number + 1:3} {how:18} status {status}", flush=True)
        with running(["train", "--resume", str(run)], place / "end.log", processes=options.processes) as command:
            assert command.wait(3600) == 0, command.output
        found = differences(straight, run)
    for how, ended in statuses.items():
        print(f"{how}: {len(ended)}, statuses {sorted(set(ended))}")
    print("; ".join(found) or "bit for bit as if nothing had happened")
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
