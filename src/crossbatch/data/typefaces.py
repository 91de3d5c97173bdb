"""Characters drawn from fonts: one bitmap for each code point and typeface, if its class has enough images."""

import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFont
from torch import Tensor

from crossbatch.data.crops import Look
from crossbatch.errors import DataError
from crossbatch.progress import watched

SIZE = 32
FONT_PIXELS = 22
BASELINE = 23
INK = 30  # the largest width or height drawn; wider characters are scaled down to it
SAME = 0.98  # correlation above which two typefaces of a character count as one image
FEWEST = 5  # images a class needs
SUFFIXES = (".ttf", ".otf", ".ttc", ".otc")

Bitmap = NDArray[np.uint8]
Script = Literal["han"]
SCRIPTS = {"han": "CJK UNIFIED IDEOGRAPH-"}  # how the Unicode names of its characters begin


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
        """The view of one bitmap that `look` chooses."""
        return look(SIZE, SIZE).of(self.read(index))

    def name(self, index: int) -> str:
        """Code point and typeface."""
        return f"{code_name(int(self.codes[index]))} in {self.faces[index]}"


def code_name(code: int) -> str:
    """The name of a code point, such as `U+0041 LATIN CAPITAL LETTER A`."""
    return f"U+{code:04X} {unicodedata.name(chr(code), '')}".strip()


def draw(
    fonts: Sequence[Path], *, script: Script | None = None, same: float = SAME, fewest: int = FEWEST
) -> GlyphImages:
    """Draw every character of every font, or only those of a script; keep the classes with enough images.

    Left out: empty bitmaps and `.notdef`; bitmaps that two code points of a font share (Latin A, Greek Alpha);
    near copies within a class (correlation above `same`); classes with fewer than `fewest` images left.
    """
    by_code: dict[int, list[tuple[Bitmap, str]]] = {}
    for font in watched(fonts, "drawing fonts"):
        for code, bitmap, face in _draw_font(font, script):
            by_code.setdefault(code, []).append((bitmap, face))
    bitmaps, codes, faces = [], [], []
    for code in sorted(by_code):
        drawn = by_code.pop(code)
        if len(drawn) < fewest:
            continue
        kept = _distinct(drawn, same)
        if len(kept) >= fewest:
            bitmaps += [bitmap for bitmap, _ in kept]
            faces += [face for _, face in kept]
            codes += [code] * len(kept)
    if not bitmaps:
        raise DataError(f"no character has {fewest} different images in these {len(fonts)} fonts: bring more fonts")
    return GlyphImages(np.stack(bitmaps), np.array(codes, dtype=np.int64), faces)


class _Face(NamedTuple):
    """One typeface of a font file: its number in the file, its name, and where the file has each outline."""

    number: int
    name: str
    outlines: dict[int, tuple[int, str]]


def _draw_font(path: Path, script: Script | None) -> Iterator[tuple[int, Bitmap, str]]:
    """Yield code point, bitmap and typeface; an outline that several typefaces of a file share is drawn once."""
    drawn: dict[tuple[int, int, str], tuple[int, Bitmap, str]] = {}
    codes_of: dict[bytes, set[int]] = {}
    for face in _faces(path):
        font = ImageFont.truetype(str(path), FONT_PIXELS, face.number, layout_engine=ImageFont.Layout.BASIC)
        for code, outline in face.outlines.items():
            if (code, *outline) in drawn or not _is_drawn(code, script):
                continue
            bitmap = _draw_one(chr(code), font)
            if bitmap is not None:
                drawn[code, *outline] = code, bitmap, face.name
                codes_of.setdefault(bitmap.tobytes(), set()).add(code)
    for code, bitmap, face_name in drawn.values():
        if len(codes_of[bitmap.tobytes()]) == 1:
            yield code, bitmap, face_name


def _is_drawn(code: int, script: Script | None) -> bool:
    if script is not None:
        return unicodedata.name(chr(code), "").startswith(SCRIPTS[script])
    return unicodedata.category(chr(code))[0] not in "CZ"


def _faces(path: Path) -> Iterator[_Face]:
    from fontTools.ttLib import TTCollection, TTFont  # noqa: PLC0415

    try:
        with path.open("rb") as file:
            if path.suffix.lower() in {".ttc", ".otc"}:
                for number, tables in enumerate(TTCollection(file, lazy=True).fonts):
                    yield _Face(number, tables["name"].getDebugName(4) or f"{path.stem} {number}", _outlines(tables))
            else:
                yield _Face(0, path.stem, _outlines(TTFont(file, lazy=True)))
    except Exception as error:  # a damaged font may raise anything: TTLibError, struct.error, KeyError, …
        raise DataError(f"the font {path} cannot be read ({error}): remove it or bring it whole") from error


def _outlines(tables: Any) -> dict[int, tuple[int, str]]:
    """For each code point, the offset of the outline table and the outline's name; equal pairs share an outline."""
    place = next((tables.reader.tables[tag].offset for tag in ("glyf", "CFF ", "CFF2") if tag in tables), 0)
    return {code: (place, name) for code, name in (tables.getBestCmap() or {}).items() if name != ".notdef"}


def _draw_one(character: str, font: ImageFont.FreeTypeFont) -> Bitmap | None:
    mask, (_, top) = font.getmask2(character, "L", anchor="ls")
    width, height = mask.size
    if width <= 0 or height <= 0:
        return None
    ink = Image.frombytes("L", (width, height), bytes(mask))
    if max(width, height) > INK:
        scale = INK / max(width, height)
        width, height = max(1, round(width * scale)), max(1, round(height * scale))
        ink = ink.resize((width, height), Image.Resampling.BOX)
    canvas = Image.new("L", (SIZE, SIZE))
    y = min(max(BASELINE + int(top), 1), SIZE - 1 - height)
    canvas.paste(ink, ((SIZE - width) // 2, y))
    bitmap = np.asarray(canvas)
    return bitmap if bitmap.max() > 0 else None


def _distinct(drawn: list[tuple[Bitmap, str]], same: float) -> list[tuple[Bitmap, str]]:
    """Drop each bitmap whose correlation with a bitmap kept before is above `same`."""
    flat = np.stack([bitmap for bitmap, _ in drawn]).reshape(len(drawn), -1).astype(np.float32)
    flat -= flat.mean(1, keepdims=True)
    flat /= np.linalg.norm(flat, axis=1, keepdims=True) + 1e-6
    correlation = flat @ flat.T
    kept: list[int] = []
    for i in range(len(drawn)):
        if not kept or correlation[i, kept].max() <= same:
            kept.append(i)
    return [drawn[i] for i in kept]
