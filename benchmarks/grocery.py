"""Grocery photographs with ImageNet weights: zero-shot, fine-tuned without memory, and fine-tuned with memory.

    python scripts/efficientnet_lite_weights.py 0 lite0.safetensors
    python -m benchmarks.grocery --root grocery_store --weights lite0.safetensors

`--root` has one folder for each class. File names begin with train-, val- or test-, the parts of the Grocery Store
data set (Klasson et al., WACV 2019). There are two protocols. With disjoint classes, the first 40 classes train the
network, and each image of the other 41 classes is a query against all their other images. In the closed set, all 81
classes train on their training and validation photographs, which are also the gallery; test photographs are the
queries. Images are small and only the last stages of the network train, so that a run takes minutes on two cores.
"""

import argparse
from pathlib import Path

from rich.console import Console
from torch import nn

from crossbatch.commands.compare import show
from crossbatch.data.batches import PartBatches, Reader
from crossbatch.data.transforms import Evenly
from crossbatch.encoder.rows import embedded
from crossbatch.metrics import evaluate
from crossbatch.models import embedder
from crossbatch.models.weights import load_backbone
from crossbatch.report import write_report
from crossbatch.training.comparison import compare
from crossbatch.training.run_parts import load_data, preprocess
from crossbatch.training.settings import BatchSettings, LoopSettings, ModelSettings, OptimSettings, Settings

BACKBONE, TRAINING_CLASSES = "tf_efficientnet_lite0", 40
Row = tuple[Path, str, str]


def main() -> None:
    options = _options()
    options.out.mkdir(parents=True, exist_ok=True)
    console = Console(width=120)
    for name in options.protocols:
        rows = PROTOCOLS[name](options.root)
        listing = options.out / f"{name}.csv"
        lines = (f"{path.absolute()},{label},{role}\n" for path, label, role in rows)
        listing.write_text("path,label,role\n" + "".join(lines))
        settings = _settings(options, listing)
        print(f"{name}: zero-shot R@1 {zero_shot(settings):.4f}")
        out = options.out / name
        result = compare(settings, out, console, seeds=options.seeds, learning_rates=options.rates, equal_time=False)
        show(console, result, result["data"])
        print(write_report(out))


def disjoint(root: Path) -> list[Row]:
    classes = _classes(root)
    return [
        (path, folder.name, "train" if number < TRAINING_CLASSES else "query")
        for number, folder in enumerate(classes)
        for path in sorted(folder.iterdir())
    ]


def closed_set(root: Path) -> list[Row]:
    rows = []
    for folder in _classes(root):
        for path in sorted(folder.iterdir()):
            roles = ("query",) if path.name.startswith("test-") else ("train", "gallery")
            rows += [(path, folder.name, role) for role in roles]
    return rows


PROTOCOLS = {"disjoint": disjoint, "closed-set": closed_set}


def zero_shot(settings: Settings) -> float:
    """R@1 on test with the ImageNet features, pooled and scaled to length 1."""
    loaded = load_data(settings)
    model = embedder.build(settings.model.backbone, settings.model.dim, loaded.channels)
    model.head = nn.Identity()
    load_backbone(model.backbone, settings.model.backbone, settings.model.weights or Path())
    evenly, reader = Evenly(preprocess(settings, loaded)), Reader(loaded.images)
    query = embedded(model, PartBatches(reader, loaded.query, evenly))
    gallery = query if loaded.gallery is None else embedded(model, PartBatches(reader, loaded.gallery, evenly))
    return evaluate(*query, *gallery).recall[1]


def _settings(options: argparse.Namespace, listing: Path) -> Settings:
    return Settings(
        data="csv",
        root=listing,
        loss=options.loss,
        refit=True,
        batch=BatchSettings(8, 4),
        model=ModelSettings(
            backbone=BACKBONE, weights=options.weights, image_size=128, train_stages=3, freeze_bn=True, dim=128
        ),
        optim=OptimSettings(steps=options.steps, warmup=20),
        loop=LoopSettings(check_every=max(1, options.steps // 5)),
    )


def _classes(root: Path) -> list[Path]:
    return sorted(path for path in root.iterdir() if path.is_dir())


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--protocols", nargs="+", default=list(PROTOCOLS), choices=PROTOCOLS)
    parser.add_argument("--loss", default="contrastive")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--rates", type=float, nargs="+", default=[1e-4, 3e-4, 1e-3])
    parser.add_argument("--out", type=Path, default=Path("runs", "grocery"))
    return parser.parse_args()


if __name__ == "__main__":
    main()
