"""A shard: which slots of a memory a process keeps, of several among which its rows go round."""

from typing import NamedTuple

import torch
from torch import Tensor

from crossbatch.processes import Processes

AT_ONCE = 2**16  # rows gathered at once: what that takes beside the memory stays small


class Shard(NamedTuple):
    """Every `parts`-th slot of a ring of `size`, from slot `number` on; 0 of 1 is all of it.

    A shard of several has one row more than it keeps at most. That takes what other processes keep, and is never live:
    so no one has to ask how many rows of a batch are its own, which a GPU would wait for.
    """

    number: int
    parts: int
    size: int

    @property
    def rows(self) -> int:
        """Rows of the buffers, the same in every process."""
        return self.size if self.parts == 1 else -(-self.size // self.parts) + 1

    @property
    def capacity(self) -> int:
        """How many slots are kept here."""
        return len(range(self.number, self.size, self.parts))

    def used(self, written: int) -> int:
        """How many of these have been written, after so many rows in all."""
        return len(range(self.number, min(written, self.size), self.parts))

    def own(self, slots: Tensor) -> tuple[Tensor, Tensor]:
        """Where slots of the ring are here, and which of them are kept here; the last row takes the others."""
        here = slots % self.parts == self.number
        return torch.where(here, slots // self.parts, self.rows - 1), here

    def in_ring(self, rows: Tensor) -> Tensor:
        """The slots of the ring that rows here are."""
        return rows * self.parts + self.number

    def of_whole(self, whole: Tensor, empty: int) -> Tensor:
        """What of a buffer of the whole ring is kept here; `empty` fills what no slot is."""
        found = whole.new_full((self.rows, *whole.shape[1:]), empty)
        found[: self.capacity] = whole[self.number :: self.parts]
        return found

    def whole(self, mine: Tensor, processes: Processes) -> Tensor:
        """The buffer of the whole ring, from that of each process; not on the device, where it may not fit."""
        whole = mine.new_empty(self.size, *mine.shape[1:], device="cpu")
        for first in range(0, self.rows - 1, AT_ONCE):
            piece = mine[first : min(first + AT_ONCE, self.rows - 1)]
            for number, rows in enumerate(processes.stack(piece)):
                place = whole[number :: self.parts][first : first + len(rows)]
                place.copy_(rows[: len(place)])
        return whole
