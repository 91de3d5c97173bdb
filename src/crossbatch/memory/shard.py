"""A shard: the slots of a memory that one of several processes keeps; slots are dealt to the processes in turn."""

from typing import NamedTuple

import torch
from torch import Tensor

from crossbatch.processes import Processes

AT_ONCE = 2**16  # rows gathered at once, so that gathering takes little space beside the memory


class Shard(NamedTuple):
    """Every `parts`-th slot of a ring of `size`, from slot `number` on; shard 0 of 1 is the whole ring.

    If there are several shards, the buffers have one extra row. Rows that belong to other processes are written there,
    and it is never live. So the number of own rows in a batch need not be read, which would wait for a GPU.
    """

    number: int
    parts: int
    size: int

    @property
    def rows(self) -> int:
        """Number of rows of the buffers, the same in every process."""
        return self.size if self.parts == 1 else -(-self.size // self.parts) + 1

    @property
    def capacity(self) -> int:
        """Number of slots that this shard keeps."""
        return len(range(self.number, self.size, self.parts))

    def used(self, written: int) -> int:
        """Number of slots of this shard that hold a row after `written` rows in total."""
        return len(range(self.number, min(written, self.size), self.parts))

    def own(self, slots: Tensor) -> tuple[Tensor, Tensor]:
        """Row in this shard for each slot of the ring, and whether the shard keeps it; others get the last row."""
        here = slots % self.parts == self.number
        return torch.where(here, slots // self.parts, self.rows - 1), here

    def in_ring(self, rows: Tensor) -> Tensor:
        """Slots in the ring of rows of this shard."""
        return rows * self.parts + self.number

    def of_whole(self, whole: Tensor, empty: int) -> Tensor:
        """Take this shard's rows from a buffer of the whole ring; rows without a slot are filled with `empty`."""
        own_rows = whole.new_full((self.rows, *whole.shape[1:]), empty)
        own_rows[: self.capacity] = whole[self.number :: self.parts]
        return own_rows

    def whole(self, mine: Tensor, processes: Processes) -> Tensor:
        """Gather a buffer of the whole ring from all processes, on the CPU, since the device may lack the space."""
        whole = mine.new_empty(self.size, *mine.shape[1:], device="cpu")
        for first in range(0, self.rows - 1, AT_ONCE):
            piece = mine[first : min(first + AT_ONCE, self.rows - 1)]
            for number, rows in enumerate(processes.stack(piece)):
                destination = whole[number :: self.parts][first : first + len(rows)]
                destination.copy_(rows[: len(destination)])
        return whole
