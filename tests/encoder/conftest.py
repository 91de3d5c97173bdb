"""A run folder with an untrained model, and odd image files."""

from pathlib import Path

import pytest
import torch
from PIL import Image

from crossbatch import durable, runs
from crossbatch.data.transforms import Preprocessing
from crossbatch.models import checkpoint
from crossbatch.models.embedder import build

PREPROCESSING = Preprocessing(16, 18, 3, (0.5, 0.4, 0.6), (0.25, 0.2, 0.3), background="#203040")


def write_run(folder: Path, seed: int = 0, **description: object) -> Path:
    torch.manual_seed(seed)
    model = build("small", 8, 3, pooling="grid")
    with torch.no_grad():  # move the BatchNorm statistics, as training does
        model.train()(torch.randn(32, 3, 16, 16))
    plain = {"backbone": "small", "dim": 8, "channels": 3, "class_names": ["a", "b"], "pooling": "grid"}
    plain |= {"preprocessing": PREPROCESSING.__dict__} | description
    folder.mkdir()
    checkpoint.save(folder, model.eval(), checkpoint.Description(**plain))
    durable.write_text(folder / runs.CONFIG, "format: 1\nroot: /home/somebody/pictures\ndata: folder\nseed: 3\n")
    runs.write_json(folder / runs.DATA, {"name": "folder", "fingerprint": "0a0b0c0d"})
    before, after = {"validation R@1": 0.25}, {"steps": 40, "loss": "triplet", "best_validation_R@1": 0.75}
    runs.write_json(folder / runs.SUMMARY, {"before_training": before, "versions": {"torch": "2.14"}, **after})
    look = {"part": "test", "R@1": 0.5, "MAP@R": 0.25, "queries": 12, "before_training": {"R@1": 0.125}}
    runs.write_json(folder / runs.EVALUATIONS, [look | {"R@1": 0.1}, look])
    return folder


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return write_run(tmp_path / "run")


@pytest.fixture(scope="session")
def odd_files(tmp_path_factory: pytest.TempPathFactory, pictures: Path) -> list[Path]:
    """One picture in several kinds of file: CMYK, EXIF, transparency, 16 bits, grey, a palette, and much larger."""
    folder = tmp_path_factory.mktemp("odd")
    image = Image.open(pictures / "class 3" / "0.png").resize((90, 70), Image.Resampling.BICUBIC)
    turned = Image.Exif()
    turned[0x0112] = 6
    half = image.convert("RGBA")
    half.paste((0, 0, 0, 0), (0, 0, 45, 70))
    deep = Image.fromarray(torch.arange(90 * 70).mul(10).reshape(70, 90).numpy().astype("uint16"))
    files = {
        "print.jpg": (image.convert("CMYK"), {}),
        "turned.jpg": (image, {"exif": turned}),
        "clear.png": (half, {}),
        "deep.png": (deep, {}),
        "grey.jpg": (image.convert("L"), {}),
        "palette.gif": (image.convert("P"), {}),
        "large.jpg": (image.resize((900, 700), Image.Resampling.BICUBIC), {"quality": 95}),
    }
    for name, (picture, options) in files.items():
        picture.save(folder / name, **options)
    return [folder / name for name in files]
