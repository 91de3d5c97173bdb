"""A made-up comparison with every file that a report reads, without training."""

import csv
import json
import math
import random
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from PIL import Image, ImageDraw

STEPS, EVERY, SEEDS = 1000, 10, 3
ARMS = {
    "without memory": {"rows": 0, "steps": STEPS, "level": 0.80},
    "without memory, equal time": {"rows": 0, "steps": 1120, "level": 0.81},
    "with memory": {"rows": 10381, "steps": STEPS, "level": 0.85},
}
HOSTILE = "<b>&\"x'</b>"  # a class name that must be shown as text


@pytest.fixture(scope="session")
def made_up(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A comparison of three arms and three seeds, with a rate search and examples. Tests must not change it."""
    folder = tmp_path_factory.mktemp("report") / "made-up"
    folder.mkdir()
    write_config(folder, size=None)
    arms = [write_arm(folder, name) for name in ARMS]
    result = {
        "data": "glyphs",
        "fingerprint": "f3539c2d",
        "loss": "contrastive",
        "seeds": SEEDS,
        "test": {"queries": 7210, "classes": 690},
        "search": [
            {"arm": name, "lr": lr, "validation R@1": 0.7 + 10 * lr}
            for name in ("without memory", "with memory")
            for lr in (3e-4, 1e-3)
        ],
        "arms": arms,
        "step_cost": {"without": 0.0501, "with": 0.0561, "ratio": 0.0561 / 0.0501},
        "error_ratio": {
            "without memory": {"of means": 0.8, "by seed": [0.78, 0.8, 0.83]},
            "without memory, equal time": {"of means": 0.85, "by seed": [0.85, None, 0.85]},
        },
    }
    write_json(folder / "comparison.json", result)
    return folder


@pytest.fixture
def comparison(made_up: Path, tmp_path: Path) -> Path:
    """A copy of the made-up comparison, which a test may change."""
    return Path(shutil.copytree(made_up, tmp_path / "made-up", symlinks=True))


@pytest.fixture
def run(comparison: Path) -> Path:
    """A finished run with memory."""
    return comparison / "with-memory-lr0.001-seed0"


def write_arm(folder: Path, name: str) -> dict[str, Any]:
    """Write the runs of an arm and return its entry in comparison.json."""
    rows, steps, level = (ARMS[name][key] for key in ("rows", "steps", "level"))
    names = [f"{'-'.join(name.replace(',', '').split())}-lr0.001-seed{seed}" for seed in range(SEEDS)]
    for seed, run_name in enumerate(names):
        write_run(folder / run_name, seed, rows=int(rows), steps=int(steps), level=level)
    return {
        "name": name,
        "lr": 1e-3,
        "steps": steps,
        "memory_rows": rows,
        "runs": names,
        "validation R@1": [level] * SEEDS,
        "training_seconds": 61.5,
        "test": {
            metric: [level + shift + seed / 300 for seed in range(SEEDS)]
            for metric, shift in {
                "R@1": 0.0,
                "R@2": 0.05,
                "R@4": 0.08,
                "R@8": 0.1,
                "R-precision": -0.3,
                "MAP@R": -0.4,
            }.items()
        },
    }


def write_run(run: Path, seed: int, *, rows: int, steps: int, level: float) -> None:
    """Write a run folder without a model."""
    run.mkdir()
    write_config(run, size=None if rows else 0)
    summary = {
        "data": "glyphs",
        "fingerprint": "f3539c2d",
        "loss": "contrastive",
        "memory_rows": rows,
        "seed": seed,
        "lr": 1e-3,
        "steps": steps,
        "best_validation_R@1": level,
        "last_validation": {"R@1": level, "MAP@R": level - 0.4},
        "training_seconds": 61.5,
        "versions": {"torch": "2.14.1"},
        "machine": "x86_64, 2 threads",
    }
    write_json(run / "summary.json", summary)
    write_metrics(run, seed, rows=rows, steps=steps, level=level)
    if seed == 0:
        write_examples(run, level)


def write_metrics(run: Path, seed: int, *, rows: int, steps: int, level: float) -> None:
    """Write sparse rows like Lightning's CSVLogger: each row is about training or about validation."""
    noise = random.Random(seed)
    table: list[dict[str, float]] = []
    for step in range(EVERY - 1, steps, EVERY):
        falling = math.exp(-step / 300)
        line = {"step": step, "lr": 1e-3, "batch_negatives": round(30 * falling * noise.uniform(0.8, 1.2) ** 3, 1)}
        term = (0.2 + 0.3 * falling) * noise.uniform(0.9, 1.1)
        if rows:
            line |= {"batch_loss": term, "memory_rows": min(rows, 64 * (step + 1)), "memory_age": min(step, 162) / 2}
        if rows and step >= 100:
            line |= {"memory_loss": 1.4 * term, "memory_negatives": 4000 * falling * noise.uniform(0.8, 1.2)}
        table.append({**line, "loss": term + line.get("memory_loss", 0)})
        if (step + 1) % 50 == 0:
            value = level - 0.5 * math.exp(-step / 200) + noise.gauss(0, 0.008)
            table.append({"step": step, "val/R@1": value, "val/MAP@R": value / 2})
    path = run / "logs" / "csv" / "from_00000000" / "metrics.csv"
    path.parent.mkdir(parents=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, sorted({name for line in table for name in line}))
        writer.writeheader()
        writer.writerows(table)


def write_examples(run: Path, level: float) -> None:
    """Write twenty-four queries. Memory improves every third query. Class 0 has a hostile name."""
    folder = run / "examples" / "test"
    folder.mkdir(parents=True)
    queries = []
    for number in range(24):
        right = [place < (number * 5) % 9 + (level > 0.82) * (number % 3 == 0) for place in range(8)]
        neighbors = [describe(folder, 100 + 8 * number + i, number + (not good)) for i, good in enumerate(right)]
        told = [
            {**neighbor, "similarity": 0.9 - i / 50, "right": good}
            for i, (neighbor, good) in enumerate(zip(neighbors, right, strict=True))
        ]
        queries.append({**describe(folder, number, number), "neighbors": told})
    write_json(folder / "queries.json", queries)


def describe(folder: Path, image: int, label: int) -> dict[str, Any]:
    """Write a small picture and return its entry."""
    picture = Image.new("L", (32, 32))
    ImageDraw.Draw(picture).regular_polygon((16, 16, 11), 3 + label % 6, rotation=image * 7, fill=255)
    picture.save(folder / f"{image}.png", compress_level=1)
    name = HOSTILE if label == 0 else f"U+{0x4E00 + label:04X} POLYGON OF {3 + label % 6} SIDES"
    return {"id": image, "picture": f"{image}.png", "name": f"image {image}", "class": name}


def write_config(folder: Path, size: int | None) -> None:
    """Write the options that a report shows."""
    config = {
        "data": "glyphs",
        "loss": "contrastive",
        "batch": {"classes": 16, "images": 4},
        "memory": {"size": size, "start": 100},
        "model": {"backbone": "small", "dim": 128},
        "optim": {"steps": STEPS, "schedule": "cosine"},
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write JSON as a run does."""
    path.write_text(json.dumps(value, ensure_ascii=False), encoding="utf-8")
