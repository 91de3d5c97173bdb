"""The embedded data set: characters drawn from the fonts that matplotlib ships.

Class = code point, instance = typeface. Rendered characters, never photographs.
"""

import contextlib
import hashlib
import os
import unicodedata
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from crossbatch.data.records import DataSet, Part, hold_out
from crossbatch.data.split import Split
from crossbatch.data.views import Look
from crossbatch.errors import DataError, MissingExtraError

SIZE = 32
FONT_PIXELS = 22
BASELINE = 23
INK = 30  # the largest width or height drawn; wider characters are scaled down to it
SAME = 0.98  # correlation above which two typefaces of a character are one image
FEWEST = 5  # images a class needs
VERSION = 1  # of the drawing; part of the cache's name
TEST_SHARE = 0.5


class GlyphImages:
    """Bitmaps uint8 [images, 32, 32], ink white on black."""

    in_memory = True

    def __init__(self, bitmaps: NDArray[np.uint8], codes: NDArray[np.int64], faces: list[str]) -> None:
        self.bitmaps, self.codes, self.faces = bitmaps, codes, faces

    def __len__(self) -> int:
        return len(self.bitmaps)

    def read(self, index: int) -> Image.Image:
        """One bitmap, grey."""
        return Image.fromarray(self.bitmaps[index])

    def see(self, index: int, look: Look) -> Tensor:
        """What a look shows of one bitmap."""
        return look(SIZE, SIZE).of(self.read(index))

    def name(self, index: int) -> str:
        """Code point and typeface."""
        return f"{code_name(int(self.codes[index]))} in {self.faces[index]}"


def code_name(code: int) -> str:
    """U+0041 LATIN CAPITAL LETTER A."""
    return f"U+{code:04X} {unicodedata.name(chr(code), '')}".strip()


def load(root: Path | None = None, split: Split | None = None) -> DataSet:
    """Draw the set, or read it from the cache; half of the classes are test, as in SOP."""
    if root is not None:
        raise DataError(f"glyphs are drawn, not read: leave --root out (got {root})")
    split = split or Split()
    images, fingerprint = draw_cached(font_files())
    codes = np.unique(images.codes)
    labels = torch.from_numpy(np.searchsorted(codes, images.codes))
    everything = Part(labels, torch.arange(len(labels)))
    rest, test = hold_out(everything, TEST_SHARE, split.seed, "the test half")
    train, validation = hold_out(rest, split.validation_share, split.seed, "--split.validation_share")
    names = tuple(code_name(int(code)) for code in codes)
    return DataSet("glyphs", images, names, train, validation, test, None, fingerprint, channels=1, image_size=SIZE)


def font_files() -> list[Path]:
    """DejaVu and STIX as matplotlib ships them."""
    try:
        import matplotlib as mpl  # noqa: PLC0415
    except ModuleNotFoundError:
        raise MissingExtraError("the data set glyphs", "matplotlib", "train") from None
    folder = Path(mpl.get_data_path(), "fonts", "ttf")
    return sorted(path for path in folder.glob("*.ttf") if path.name.startswith(("DejaVu", "STIX")))


def cache_folder() -> Path:
    """Where drawn sets are kept: $CROSSBATCH_CACHE, else the user's cache."""
    default = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "crossbatch")
    return Path(os.environ.get("CROSSBATCH_CACHE") or default)


def draw_cached(fonts: list[Path]) -> tuple[GlyphImages, str]:
    """The drawn set and its fingerprint, which changes with a font, the rasteriser or the filters."""
    key = hashlib.sha256(f"{VERSION} {ImageFont.core.freetype2_version}".encode())
    for font in fonts:
        key.update(font.read_bytes())
    path = cache_folder() / f"glyphs-{key.hexdigest()[:16]}.npz"
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as cached:
            images = GlyphImages(cached["bitmaps"], cached["codes"], cached["faces"].tolist())
    except Exception:  # a damaged archive raises what it likes: BadZipFile, zlib.error, TokenError, …
        images = draw(fonts)
        _write(path, images)
    digest = hashlib.sha256(images.bitmaps.tobytes() + images.codes.tobytes()).hexdigest()
    return images, digest[:8]


def _write(path: Path, images: GlyphImages) -> None:
    """Put the cache in place whole or not at all; a folder that cannot be written costs a redraw next time."""
    partial = path.with_name(f"{path.stem}.{os.getpid()}.tmp.npz")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(partial, bitmaps=images.bitmaps, codes=images.codes, faces=images.faces)
        partial.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            partial.unlink()


def draw(fonts: list[Path], same: float = SAME, fewest: int = FEWEST) -> GlyphImages:
    """Draw every character of every font, then keep what makes a class.

    Left out: empty bitmaps and `.notdef`; bitmaps that two code points of a font share (Latin A, Greek Alpha);
    near copies within a class (correlation above `same`); classes with fewer than `fewest` images left.
    """
    by_code: dict[int, list[tuple[NDArray[np.uint8], str]]] = {}
    for font in fonts:
        for code, bitmap in _draw_font(font).items():
            by_code.setdefault(code, []).append((bitmap, font.stem))
    bitmaps, codes, faces = [], [], []
    for code in sorted(by_code):
        if len(by_code[code]) < fewest:
            continue
        kept = _distinct(by_code[code], same)
        if len(kept) >= fewest:
            bitmaps += [bitmap for bitmap, _ in kept]
            faces += [face for _, face in kept]
            codes += [code] * len(kept)
    if not bitmaps:
        raise DataError(f"no character has {fewest} different images in these {len(fonts)} fonts: bring more fonts")
    return GlyphImages(np.stack(bitmaps), np.array(codes, dtype=np.int64), faces)


def _draw_font(path: Path) -> dict[int, NDArray[np.uint8]]:
    from fontTools.ttLib import TTFont  # noqa: PLC0415

    with TTFont(path, lazy=True) as tables:
        codes = [code for code, glyph in tables.getBestCmap().items() if glyph != ".notdef"]
    font = ImageFont.truetype(str(path), FONT_PIXELS, layout_engine=ImageFont.Layout.BASIC)
    drawn = {code: _draw_one(chr(code), font) for code in codes if unicodedata.category(chr(code))[0] not in "CZ"}
    shared: dict[bytes, list[int]] = {}
    for code, bitmap in drawn.items():
        if bitmap is not None:
            shared.setdefault(bitmap.tobytes(), []).append(code)
    return {
        codes[0]: bitmap for codes in shared.values() if len(codes) == 1 and (bitmap := drawn[codes[0]]) is not None
    }


def _draw_one(character: str, font: ImageFont.FreeTypeFont) -> NDArray[np.uint8] | None:
    left, top, right, bottom = font.getbbox(character, anchor="ls")
    width, height = int(right - left), int(bottom - top)
    if width <= 0 or height <= 0:
        return None
    ink = Image.new("L", (width, height))
    ImageDraw.Draw(ink).text((-left, -top), character, fill=255, font=font, anchor="ls")
    if max(width, height) > INK:
        scale = INK / max(width, height)
        width, height = max(1, round(width * scale)), max(1, round(height * scale))
        ink = ink.resize((width, height), Image.Resampling.BOX)
    canvas = Image.new("L", (SIZE, SIZE))
    y = min(max(BASELINE + int(top), 1), SIZE - 1 - height)
    canvas.paste(ink, ((SIZE - width) // 2, y))
    bitmap = np.asarray(canvas)
    return bitmap if bitmap.max() > 0 else None


def _distinct(drawn: list[tuple[NDArray[np.uint8], str]], same: float) -> list[tuple[NDArray[np.uint8], str]]:
    """Keep each bitmap unless it is a near copy of one kept before."""
    flat = np.stack([bitmap for bitmap, _ in drawn]).reshape(len(drawn), -1).astype(np.float32)
    flat -= flat.mean(1, keepdims=True)
    flat /= np.linalg.norm(flat, axis=1, keepdims=True) + 1e-6
    correlation = flat @ flat.T
    kept: list[int] = []
    for i in range(len(drawn)):
        if not kept or correlation[i, kept].max() <= same:
            kept.append(i)
    return [drawn[i] for i in kept]
