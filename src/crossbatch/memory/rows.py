"""Rows of a memory: the tuples in which they are read, and the function that carries them along a motion."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import normalize

from crossbatch.precision import exactly
from crossbatch.shapes import References, RefIds, RefLabels, RefMask


class Rows(NamedTuple):
    """Rows of a memory with their slots. A slot of −1 means no such row; its other fields have no meaning."""

    slots: Tensor
    embeddings: Tensor
    labels: Tensor
    ids: Tensor
    steps: Tensor


class InUse(NamedTuple):
    """Views of all slots of a memory in use, and a mask of those that a loss counts."""

    embeddings: References
    labels: RefLabels
    ids: RefIds
    live: RefMask | None  # None: all count


@exactly
def carried(rows: Tensor, motion: Tensor, share: Tensor) -> Tensor:
    """Move unit rows by a share [rows] of the way from `row` to `row @ motion`, and scale them to unit length again."""
    start = rows.float()
    moved = torch.lerp(start, start @ motion.to(start), share[:, None].to(start))
    return normalize(moved).to(rows.dtype)
