"""Small galleries for tests: real images and a real network with random weights."""

import io
import struct
from collections.abc import Sequence
from pathlib import Path

import torch
from PIL import Image

from crossbatch.data.transforms import Preprocessing
from crossbatch.encoder import load
from crossbatch.index import Gallery
from crossbatch.index.database import bring_in_step
from crossbatch.index.description import Database, Model
from crossbatch.index.indexing import Outcome, add
from crossbatch.index.kept_model import keep
from crossbatch.index.projection import draw_map
from crossbatch.index.sources import Found, found_in
from crossbatch.index.writer import writing
from crossbatch.models import checkpoint
from crossbatch.models.embedder import build

DIM = 16


def model_in(folder: Path, seed: int = 0, dim: int = DIM, backbone: str = "small") -> Path:
    """A folder with a model, like the one a run writes."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(seed)
    looks = Preprocessing(16, 16, 3, (0.5,) * 3, (0.5,) * 3)
    plain = {name: list(one) if isinstance(one, tuple) else one for name, one in vars(looks).items()}
    checkpoint.save(folder, build(backbone, dim, 3), checkpoint.Description(backbone, dim, 3, plain, []))
    return folder


def indexed(
    gallery: Path,
    run: Path,
    places: Sequence[Path] = (),
    *,
    found: Sequence[Found] = (),
    database: bool = False,
    mapped: bool = False,
    name: str = "crossbatch_test",
) -> Outcome:
    """Index images into a gallery, with a map and a database only if `mapped` and `database`."""
    model = load(run)
    with writing(gallery, Model.of(model), Database("milvus.db", name)) as writer:
        keep(run, gallery)
        outcome = add(writer, [*found, *found_in(places)[0]], model)
        if mapped:
            draw_map(writer)
        if database:
            bring_in_step(writer, {})
    return outcome


def opened(gallery: Path) -> Gallery:
    """The gallery in its current state."""
    return Gallery(gallery)


def uploaded(image: Image.Image, kind: str = "PNG") -> dict[str, tuple[str, bytes]]:
    """An image as the file of a form."""
    file = io.BytesIO()
    image.save(file, kind)
    return {"image": ("photo.png", file.getvalue())}


def of_tiles(side: int) -> bytes:
    """A TIFF file of 256 × 256 grey pixels in one tile of this side. A larger tile has too few bytes."""
    pixels = bytes(256 * 256)
    tags = [(256, 256), (257, 256), (258, 8), (259, 1), (262, 1), (277, 1), (322, side), (323, side), (324, 8)]
    tags.append((325, len(pixels)))
    table = struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    return b"II*\0" + struct.pack("<I", 8 + len(pixels)) + pixels + table + bytes(4)
