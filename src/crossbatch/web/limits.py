"""What the service takes at most, and what it says to more."""

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Limits:
    """What a request may cost.

    Args:
        bytes: Bytes of an upload.
        pixels: Pixels of an image that is searched with.
        top: Images that a search gives at most.
        seconds: Seconds that a search may take, and an upload to arrive.
        waiting: Searches that are worked on or wait; more are told to come again.
    """

    bytes: int = 20_000_000
    pixels: int = 50_000_000
    top: int = 200
    seconds: float = 30.0
    waiting: int = 64

    def plain(self) -> dict[str, Any]:
        """For the page."""
        return {name: value for name, value in asdict(self).items() if name != "waiting"}


class RefusedError(Exception):
    """A request that is answered by an error: its status, a word for programs, a sentence for people."""

    def __init__(self, status: int, code: str, sentence: str) -> None:
        super().__init__(sentence)
        self.status, self.code, self.sentence = status, code, sentence
