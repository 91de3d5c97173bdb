"""Search many rows of a sorted table at once: find the position of each value in the row it belongs to."""

import torch
from torch import Tensor

APART = 8.0  # shift from one row to the next: more than the range of a cosine plus a margin


def pack(table: Tensor) -> Tensor:
    """Pack a table [rows, width] with ascending rows into one ascending vector; values are limited to ±4.

    Each row is shifted by its number × `APART`. In double precision, values that differ in float32 still differ after
    the shift, up to 10⁸ rows.
    """
    shifts = APART * torch.arange(len(table), device=table.device)[:, None]
    return (table.double().clamp(-APART / 2, APART / 2) + shifts).flatten()


def places(packed: Tensor, rows: Tensor, values: Tensor, *, right: bool = False) -> Tensor:
    """Position of each value in the packed table, within its row; with `right`, after the entries that equal it.

    `rows`, `values`: [n]. The position is row × width of the table + number of entries of the row before the value.
    """
    return torch.searchsorted(packed, values.double() + APART * rows, right=right)
