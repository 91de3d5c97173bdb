"""The embedded data set: characters drawn from the fonts that matplotlib ships, or from fonts that the user names.

Class = code point, instance = typeface. Rendered characters, never photographs.
"""

import contextlib
import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import ImageFont
from torch import Tensor

from crossbatch.data.cache import cache_folder
from crossbatch.data.data_set import DataSet, Part, Search, hold_out
from crossbatch.data.sop import RELEASE as SOP
from crossbatch.data.split import Split
from crossbatch.data.typefaces import SIZE, SUFFIXES, GlyphImages, Script, code_name, draw
from crossbatch.errors import DataError, MissingExtraError

VERSION = 1  # of the drawing; part of the cache's name
TEST_SHARE = 0.5
HAN_SAME = 0.95  # `same` of `draw` for Han: its typefaces of one tradition are nearly this much alike


def load(
    root: Path | None = None, split: Split | None = None, fonts: Sequence[Path] = (), script: Script | None = None
) -> DataSet:
    """Draw the set, or read it from the cache; half of the classes are for test, as in SOP.

    `fonts`: files, or folders that are searched for fonts at any depth. With the script `han` the set is called hanzi,
    and each half has as many random classes and images as the same part of SOP.
    """
    if root is not None:
        raise DataError(f"glyphs are drawn, not read: leave ROOT out, got {root} (--fonts is given once per place)")
    if script is not None and not fonts:
        raise DataError(f"the script {script} is not in the embedded fonts: say where fonts are with --fonts")
    split = split or Split()
    files = fonts_in(fonts) if fonts else font_files()
    images, fingerprint = draw_cached(files, script)
    codes, labels = np.unique(images.codes, return_inverse=True)
    everything = Part(torch.from_numpy(labels), torch.arange(len(labels)))
    halves = _like_sop(everything, split) if script else hold_out(everything, TEST_SHARE, split.seed, "the test half")
    train, validation = hold_out(halves[0], split.validation_share, split.seed, "--split.validation_share")
    return DataSet(
        "hanzi" if script else "glyphs",
        images,
        tuple(code_name(int(code)) for code in codes),
        train,
        validation,
        {"test": Search(halves[1])},
        fingerprint,
        channels=1,
        image_size=SIZE,
        policy="drawn",
        ks=SOP.ks if script else (1, 2, 4, 8),
    )


def _like_sop(everything: Part, split: Split) -> tuple[Part, Part]:
    """Sample classes for each half, then images, to the counts of SOP; each class keeps at least two images."""
    generator = torch.Generator().manual_seed(split.seed)
    classes = everything.classes
    order = torch.randperm(classes, generator=generator)
    halves, first = [], 0
    for images, wanted in SOP.expected.values():
        if images is None or wanted is None:
            continue
        half = everything.select(torch.isin(everything.labels, order[first : first + wanted]))
        first += wanted
        if first > classes or len(half) < images:
            raise DataError(
                f"these fonts have {classes:,} characters in five typefaces or more, and a split as SOP's needs "
                f"{wanted:,} with {images:,} images in each half: bring more fonts with --fonts"
            )
        shuffled = torch.randperm(len(half), generator=generator)
        # In shuffled order, the first two images of every class come before the third image of any class.
        further = _number_in_class(half.labels[shuffled]) >= 2
        chosen = torch.zeros(len(half), dtype=torch.bool)
        chosen[shuffled[further.long().argsort(stable=True)[:images]]] = True
        halves.append(half.select(chosen))
    return halves[0], halves[1]


def _number_in_class(labels: Tensor) -> Tensor:
    """For each position, the number of earlier positions with the same label."""
    counts = labels.unique(return_counts=True)[1]
    numbers = torch.empty_like(labels)
    numbers[labels.argsort(stable=True)] = torch.cat([torch.arange(int(count)) for count in counts])
    return numbers


def font_files() -> list[Path]:
    """The DejaVu and STIX fonts that matplotlib ships."""
    try:
        import matplotlib as mpl  # noqa: PLC0415
    except ModuleNotFoundError:
        raise MissingExtraError("the data set glyphs", "matplotlib", "train") from None
    folder = Path(mpl.get_data_path(), "fonts", "ttf")
    return sorted(path for path in folder.glob("*.ttf") if path.name.startswith(("DejaVu", "STIX")))


def fonts_in(places: Sequence[Path]) -> list[Path]:
    """Every font in these files and folders, each once, whatever links lead to it."""
    for place in places:
        if not place.exists():
            raise DataError(f"there are no fonts in --fonts {place}: it does not exist")
    paths = (path for place in places for path in (place.rglob("*") if place.is_dir() else [place]))
    files = {path.resolve() for path in paths if path.suffix.lower() in SUFFIXES and path.is_file()}
    if not files:
        raise DataError(f"no {', '.join(SUFFIXES)} file in --fonts {' '.join(map(str, places))}")
    return sorted(files, key=lambda path: (path.name, str(path)))


def draw_cached(fonts: list[Path], script: Script | None = None) -> tuple[GlyphImages, str]:
    """Draw the set, or read it from the cache. Return it with its fingerprint, a hash of bitmaps and code points."""
    key = hashlib.sha256(f"{VERSION} {ImageFont.core.freetype2_version}{script or ''}".encode())
    for font in fonts:
        key.update(font.read_bytes())
    path = cache_folder() / f"glyphs-{key.hexdigest()[:16]}.npz"
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as cached:
            images = GlyphImages(cached["bitmaps"], cached["codes"], cached["faces"].tolist())
    except Exception:  # a damaged archive may raise anything: BadZipFile, zlib.error, TokenError, …
        images = draw(fonts, script=script, same=HAN_SAME) if script else draw(fonts)
        _write(path, images)
    digest = hashlib.sha256(images.bitmaps.tobytes() + images.codes.tobytes()).hexdigest()
    return images, digest[:8]


def _write(path: Path, images: GlyphImages) -> None:
    """Write the cache whole or not at all. If its folder cannot be written, the set is drawn again next time."""
    partial = path.with_name(f"{path.stem}.{os.getpid()}.tmp.npz")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(partial, bitmaps=images.bitmaps, codes=images.codes, faces=images.faces)
        partial.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            partial.unlink()
