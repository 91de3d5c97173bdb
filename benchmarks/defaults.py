r"""Measure what the defaults gain or cost: augmentation policies, and the memory against no memory.

    python -m benchmarks.defaults policies DIR… --seeds 0 1 2
    python -m benchmarks.defaults memory DIR… --weights lite0.safetensors --size 64 --steps 200 500 --rates 0.001 0.0001

Each row of `results/defaults.csv` is one run: its settings, R@1 on validation, R@1 on test, and R@1 on test before
training. A run that has a row is not repeated. `python -m benchmarks.defaults differences` only prints: for each cell,
the mean difference of each arm from the first arm, paired by seed, with its standard error.
"""

import argparse
import csv
import itertools
import shutil
import statistics
from collections import defaultdict
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from rich.console import Console

from crossbatch import runs
from crossbatch.data.augment import Augment
from crossbatch.training.evaluation import evaluate_run
from crossbatch.training.run_parts import build_parts, load_data
from crossbatch.training.settings import (
    DriftSettings,
    LoopSettings,
    LossSettings,
    MemorySettings,
    ModelSettings,
    OptimSettings,
    Settings,
)
from crossbatch.training.train import fit

TABLE = Path(__file__).parent / "results" / "defaults.csv"
CELL = ("part", "data", "backbone", "size", "loss", "steps", "lr")
KEYS = (*CELL, "arm", "seed")
POLICIES = ("auto", "drawn", "photo", "paper", "none")
MEMORIES = {
    "none": MemorySettings(size=0),
    "default": MemorySettings(),
    "not followed": MemorySettings(follow=False),
}
Row = dict[str, Any]


def main() -> None:
    """Train the runs that have no row yet, or print the differences."""
    options = _options()
    if options.part == "differences":
        _differences()
        return
    arms = POLICIES if options.part == "policies" else tuple(MEMORIES)
    grid = itertools.product(options.roots, options.losses, options.steps, options.rates, options.seeds, arms)
    for root, loss, steps, rate, seed, arm in grid:
        backbone = "small" if options.weights is None else options.backbone
        size = options.size or "files"
        values = (options.part, root.resolve().name, backbone, size, loss, steps, rate, arm, seed)
        row: Row = dict(zip(KEYS, map(str, values), strict=True))
        if any(all(kept[key] == row[key] for key in KEYS) for kept in _kept()):
            continue
        settings = Settings(
            root=root,
            loss=LossSettings.named(loss),
            seed=seed,
            augment=Augment(arm if options.part == "policies" else "auto"),
            memory=MEMORIES["none"] if options.part == "policies" else MEMORIES[arm],
            model=ModelSettings(backbone, image_size=options.size, weights=options.weights, freeze_bn=False),
            optim=OptimSettings(steps=steps, lr=rate),
            loop=LoopSettings(check_every=max(1, steps // 5)),
            drift=DriftSettings(sample=0),
        )
        _keep(row | _run(settings))


def _run(settings: Settings) -> Row:
    """Train one run and evaluate it on test once."""
    out, loaded = Path(mkdtemp()) / "run", load_data(settings)
    try:
        summary = fit(build_parts(settings, loaded), out, Console(stderr=True)).summary
        look = evaluate_run(out, loaded, "test")
        return {
            "policy": runs.read_config(out)["augment"]["policy"],
            "memory start": summary["memory_start"],
            "validation": f"{summary['best_validation_R@1']:.4f}",
            "test": f"{look['R@1']:.4f}",
            "test before": f"{look['before_training']['R@1']:.4f}",
            "seconds": summary["training_seconds"],
            "fingerprint": loaded.fingerprint,
            "machine": summary["machine"],
        }
    finally:
        shutil.rmtree(out.parent)


def _differences() -> None:
    tests: dict[tuple[str, ...], dict[str, dict[str, float]]] = defaultdict(lambda: defaultdict(dict))
    for row in _kept():
        tests[tuple(row[key] for key in CELL)][row["arm"]][row["seed"]] = 100 * float(row["test"])
    for cell, arms in tests.items():
        first = next(iter(arms))
        print(" ".join(cell), f"{first}: {statistics.mean(arms[first].values()):.2f}", sep="  ")
        for arm, scores in list(arms.items())[1:]:
            less = [scores[seed] - arms[first][seed] for seed in scores if seed in arms[first]]
            error = statistics.stdev(less) / len(less) ** 0.5 if len(less) > 1 else float("nan")
            print(f"    {arm}: {statistics.mean(less):+.2f} ± {error:.2f} ({len(less)} seeds)")


def _kept() -> list[Row]:
    if not TABLE.is_file():
        return []
    with TABLE.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _keep(row: Row) -> None:
    runs.write_table(TABLE, [*_kept(), row])


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=("policies", "memory", "differences"))
    parser.add_argument("roots", nargs="*", type=Path)
    parser.add_argument("--weights", type=Path, help="fine-tune from these; without, the small network from scratch")
    parser.add_argument("--backbone", default="tf_efficientnet_lite0")
    parser.add_argument("--size", help="a side in pixels, or HEIGHTxWIDTH")
    parser.add_argument("--steps", nargs="+", type=int, default=[2000])
    parser.add_argument("--rates", nargs="+", type=float, default=[0.001])
    parser.add_argument("--losses", nargs="+", default=["multi-similarity"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    return parser.parse_args()


if __name__ == "__main__":
    main()
