"""The interface of a loss that `CrossBatchLoss` uses."""

from abc import ABC, abstractmethod

from torch import Tensor, nn

from crossbatch.losses.pairing import Pairing
from crossbatch.shapes import Scalar


class Comparing(nn.Module, ABC):
    """A loss that compares anchors with references, and leaves out the pairs that a `Pairing` excludes.

    Attributes:
        per_anchor: Statistics of the last call, each [anchors] or a mean over the anchors: `positives` and `negatives`,
            the numbers of pairs that counted, and `anchors`, whether an anchor has a positive.
        mean_over_anchors: Whether the loss is a mean over the anchors, so that the losses of parts of a batch average,
            weighted by size, to the loss of the whole batch.
    """

    mean_over_anchors = False

    def __init__(self) -> None:
        super().__init__()
        self.per_anchor: dict[str, Tensor] = {}

    @abstractmethod
    def compare(self, anchors: Tensor, refs: Tensor, pairing: Pairing) -> Scalar:
        """Compute the loss of unit-length anchors against unit-length references; `refs is anchors` within a batch."""

    @property
    def stats(self) -> dict[str, Scalar]:
        """Statistics of the last call: positives and negatives per anchor that count, and the share with a positive."""
        return {name: values.detach().float().mean() for name, values in self.per_anchor.items()}
