"""What `CrossBatchLoss` asks of a loss."""

from abc import ABC, abstractmethod

from torch import Tensor, nn

from crossbatch.losses.pairing import Pairing
from crossbatch.shapes import Scalar


class Comparing(nn.Module, ABC):
    """A loss that compares anchors with references, and leaves out the pairs that it is told to.

    Attributes:
        per_anchor: Of the last call, what counted for each anchor, [anchors] or a mean over them: positives, negatives,
            anchors (whether one has a positive).
        mean_over_anchors: Whether the value is a mean over the anchors, so that the means of some and of others make
            that of all.
    """

    mean_over_anchors = False

    def __init__(self) -> None:
        super().__init__()
        self.per_anchor: dict[str, Tensor] = {}

    @abstractmethod
    def compare(self, anchors: Tensor, refs: Tensor, pairing: Pairing) -> Scalar:
        """The loss of unit-length anchors against unit-length references; `refs is anchors` within a batch."""

    @property
    def stats(self) -> dict[str, Scalar]:
        """Of the last call: the mean number of positives and negatives of an anchor that count in the loss.

        And the share of anchors with a positive.
        """
        return {name: each.detach().float().mean() for name, each in self.per_anchor.items()}
