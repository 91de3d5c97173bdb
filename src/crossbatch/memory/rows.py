"""Rows of a memory, as they are read, and as they are carried along with the network."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import normalize

from crossbatch.precision import exactly
from crossbatch.shapes import References, RefIds, RefLabels, RefMask


class Rows(NamedTuple):
    """Rows of a memory: where each is, and what it holds. Slot −1: no such row, its other fields mean nothing."""

    slots: Tensor
    embeddings: Tensor
    labels: Tensor
    ids: Tensor
    steps: Tensor


class InUse(NamedTuple):
    """The memory as a loss reads it, without a copy: every slot in use, and which of them count."""

    embeddings: References
    labels: RefLabels
    ids: RefIds
    live: RefMask | None  # None: all of them


@exactly
def carried(rows: Tensor, motion: Tensor, share: Tensor) -> Tensor:
    """Unit rows taken a share [rows] of the way along a motion, and scaled to unit length again."""
    start = rows.float()
    moved = torch.lerp(start, start @ motion.to(start), share[:, None].to(start))
    return normalize(moved).to(rows.dtype)
