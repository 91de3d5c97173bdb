"""A rectangular part of an image: left, top, right, bottom, as shares of the sides or in pixels."""

import math
from dataclasses import dataclass

from crossbatch.errors import SettingError

FITS = "a box is left,top,right,bottom: shares of the sides from 0 to 1, or pixels"


@dataclass(frozen=True)
class Box:
    """Edges as shares of width and height, from 0 to 1."""

    left: float
    top: float
    right: float
    bottom: float

    @classmethod
    def parse(cls, text: str, width: int, height: int) -> "Box":
        """Parse four numbers; if one is above 1, all are pixels of an image of this width and height."""
        edges = edges_of(text)
        if max(edges) > 1:
            edges = [edge / side for edge, side in zip(edges, (width, height) * 2, strict=True)]
        left, top, right, bottom = edges
        if not (0 <= left < right <= 1 and 0 <= top < bottom <= 1):
            raise SettingError(f"{FITS}, within the image of {width} × {height} pixels, got {text[:60]!r}")
        return cls(left, top, right, bottom)

    @property
    def edges(self) -> list[float]:
        """The four edges as a list, rounded to four decimals."""
        return [round(edge, 4) for edge in (self.left, self.top, self.right, self.bottom)]

    def pixels(self, width: int, height: int) -> tuple[int, int, int, int]:
        """The whole pixels that the box covers, at least one, as (left, top, right, bottom)."""
        left, top = math.floor(self.left * width), math.floor(self.top * height)
        right, bottom = math.ceil(self.right * width), math.ceil(self.bottom * height)
        left, top = min(left, width - 1), min(top, height - 1)
        return left, top, max(right, left + 1), max(bottom, top + 1)


def edges_of(text: str) -> list[float]:
    """The four numbers of a box as they are written; `SettingError` if they are not four."""
    try:
        edges = [float(part) for part in text.split(",")]
    except ValueError:
        raise SettingError(f"{FITS}, got {text[:60]!r}") from None
    if len(edges) != 4 or not all(map(math.isfinite, edges)):
        raise SettingError(f"{FITS}, got {text[:60]!r}")
    return edges
