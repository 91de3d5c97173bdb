"""Where values belong in the rows of a sorted table, each in a row of its own, in one search."""

import torch
from torch import Tensor

APART = 8.0  # from one row to the next: more than cosines and a margin differ by


def pack(table: Tensor) -> Tensor:
    """A table [rows, width], each row ascending and within ±4 of 0, as one ascending line; beyond ±4 counts as ±4.

    Each row is shifted by its number, in double precision, which keeps apart what float32 does up to 10⁸ rows.
    """
    shifts = APART * torch.arange(len(table), device=table.device)[:, None]
    return (table.double().clamp(-APART / 2, APART / 2) + shifts).flatten()


def places(packed: Tensor, rows: Tensor, values: Tensor, *, right: bool = False) -> Tensor:
    """How many of the packed table come before each value in its row; with `right` those equal to it too.

    `rows`, `values`: [n]. Within a row, that is the row × the width of the table and how many of the row come before.
    """
    return torch.searchsorted(packed, values.double() + APART * rows, right=right)
