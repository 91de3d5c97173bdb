"""Limits of a request, and the error of a request that is refused."""

from dataclasses import asdict, dataclass
from typing import Any

from jsonargparse.typing import PositiveFloat, PositiveInt


@dataclass(frozen=True)
class Limits:
    """What a request may cost.

    Args:
        bytes: Largest size of an upload, in bytes.
        pixels: Largest number of pixels of a query image.
        top: Largest number of images that a search returns.
        seconds: Longest time for a search, and for an upload to arrive, in seconds.
        waiting: Largest number of searches running or waiting; further ones get status 429.
    """

    bytes: PositiveInt = 20_000_000
    pixels: PositiveInt = 50_000_000
    top: PositiveInt = 200
    seconds: PositiveFloat = 30.0
    waiting: PositiveInt = 64

    def plain(self) -> dict[str, Any]:
        """The limits that the page shows, by name."""
        return {name: value for name, value in asdict(self).items() if name != "waiting"}


class RefusedError(Exception):
    """A request is refused: `status` is the HTTP status, `code` a word for programs, `sentence` for people."""

    def __init__(self, status: int, code: str, sentence: str) -> None:
        super().__init__(sentence)
        self.status, self.code, self.sentence = status, code, sentence
