"""Matryoshka loss: apply any loss to prefixes of the embeddings too, so that a prefix can serve as an embedding."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from crossbatch.errors import SettingError, ShapeError
from crossbatch.losses.any_loss import comparing
from crossbatch.losses.comparing import Comparing
from crossbatch.losses.pairing import Pairing
from crossbatch.shapes import Scalar, unit


class MatryoshkaLoss(Comparing):
    """Mean of a loss over embeddings cut off at each of `dims` and scaled to unit length again.

    The memory keeps whole rows; this loss cuts them off too. `stats` describes the whole embedding.
    Source: Kusupati et al., Matryoshka Representation Learning, NeurIPS 2022.

    Args:
        loss: A pair loss of this package, or any that `CrossBatchLoss` takes.
        dims: Lengths, ascending; the last is the whole embedding.

    Examples:
        >>> loss_fn = CrossBatchLoss(MatryoshkaLoss(ContrastiveLoss(), dims=[32, 64, 128]), memory)
    """

    def __init__(self, loss: nn.Module, dims: Sequence[int]) -> None:
        super().__init__()
        self.loss = comparing(loss)
        self.mean_over_anchors = self.loss.mean_over_anchors
        if not isinstance(dims, Sequence):
            raise SettingError(f"dims are lengths of at least 1, ascending, as [32, 64, 128]; got {dims!r}")
        self.dims = tuple(int(dim) for dim in dims)
        if not self.dims or self.dims[0] < 1 or list(self.dims) != sorted(set(self.dims)):
            raise SettingError(f"dims are lengths of at least 1, ascending, as [32, 64, 128]; got {list(dims)}")

    def compare(self, anchors: Tensor, refs: Tensor, pairing: Pairing) -> Scalar:
        """Compute the mean loss of unit-length anchors against unit-length references."""
        if anchors.shape[1] != self.dims[-1]:
            raise ShapeError(f"dims {list(self.dims)} end at {self.dims[-1]}, and embeddings have {anchors.shape[1]}")
        values = []
        for dim in self.dims:
            cut = unit(anchors[:, :dim])
            others = cut if refs is anchors else refs if dim == refs.shape[1] else unit(refs[:, :dim])
            values.append(self.loss.compare(cut, others, pairing))
        self.per_anchor = self.loss.per_anchor  # of the last call in the loop: the whole embedding
        return torch.stack(values).mean()
