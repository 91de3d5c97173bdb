"""The base class of pair losses: a formula for the cost of a negative, of a positive, and the loss of an anchor."""

import inspect
import math
from abc import abstractmethod
from typing import ClassVar

import torch
from torch import Tensor

from crossbatch.errors import SettingError, ShapeError
from crossbatch.losses.comparing import Comparing
from crossbatch.losses.engine.costs import Above, Cost, Costs, Exponent
from crossbatch.losses.engine.sides import AtOnce, Streamed
from crossbatch.losses.engine.sums import Sums
from crossbatch.losses.engine.whole import Whole
from crossbatch.losses.pairing import Pairing
from crossbatch.shapes import (
    Embeddings,
    Ids,
    Labels,
    PerAnchor,
    References,
    RefIds,
    RefLabels,
    Scalar,
    require_one_each,
    require_rows,
    unit,
)
from crossbatch.uncompiled import eagerly

__all__ = ["Above", "Costs", "Exponent", "PairLoss", "Sums", "pair_up", "require_finite", "require_positive"]


class PairLoss(Comparing):
    """Mean over the anchors of a loss of their pairs. Subclass it and write the formula in plain torch.

    Costs are elementwise in the similarities (cosines, [anchors, pairs]). Pairs that cost more than 0 count, and a mean
    is over these. With `return costs, weights` every pair counts by its weight, a constant in the gradient. With
    `return costs, None` every pair counts. Parameters that a cost uses receive gradients.

    `log_negatives`, `log_positives`: the total of that side is log Σ exp(cost). `mean_of_positives`: `combine` reads
    `positives.mean` too. `nearest_negative`: `positive` or `combine` reads `negatives.nearest`. `room`, a cosine:
    positives above it get no gradient. They leave a mean over pairs that cost more than 0; in any other sum they cost
    as much as at `room`. `width`, an attribute: how many columns are held at once; None fits them to the caches.

    Examples:
        >>> class Cubic(PairLoss):
        ...     def negative(self, s):
        ...         return s.relu() ** 3
        ...     def positive(self, s, negatives):
        ...         return (1 - s) ** 3
    """

    log_negatives: ClassVar[bool] = False
    log_positives: ClassVar[bool] = False
    mean_of_positives: ClassVar[bool] = False
    nearest_negative: ClassVar[bool] = False

    def __init__(self, *, room: float = 1.0) -> None:
        super().__init__()
        if not -1 < room <= 1:
            raise SettingError(f"room is a cosine, above -1 and at most 1, got {room}")
        self.room = room
        self.width: int | None = None

    mean_over_anchors = True

    def context(self, farthest_positive: PerAnchor) -> tuple[PerAnchor, ...]:
        """Return further arguments for `negative`, such as a mining bound; each is [anchors].

        `farthest_positive` is the similarity of the farthest positive, +∞ for an anchor without one.
        """
        return ()

    @property
    @abstractmethod
    def negative(self) -> Cost:
        """Cost of each negative: a method `negative(s, *context)`, or a property that returns `Above` or `Exponent`."""

    @abstractmethod
    def positive(self, s: Tensor, negatives: Sums) -> Costs:
        """Cost of each positive; it may depend on the sums over the negatives."""

    def combine(self, positives: Sums, negatives: Sums) -> PerAnchor:
        """Loss of each anchor, from the sums over its positives and its negatives."""
        return positives.mean + negatives.mean

    def over(self, sides: Whole | Streamed) -> PerAnchor:
        """Loss of each anchor. The negatives come first, since the cost of a positive may depend on their sums."""
        wanted = {"log": self.log_negatives, "nearest": self.nearest_negative}
        context = self.context(sides.farthest)
        if isinstance(context, Tensor):
            raise SettingError(f"context of {type(self).__name__} returns a tensor, not a tuple: return (…,)")
        negatives = sides.negatives(self.negative, *context, **wanted)

        def cost(s: Tensor, total: Tensor) -> Costs:
            # `total` is an argument, so that the gradient of a positive's cost flows through it to the negatives.
            capped = s.clamp(max=self.room) if self.room < 1 else s
            cost = None if negatives.cost is None else total
            costs = self.positive(capped, negatives._replace(total=total, cost=cost))
            if self.room < 1 and isinstance(costs, Tensor) and not self.log_positives:
                return torch.where(s < self.room, costs, 0)
            return costs

        positives = sides.positives(cost, negatives.total, log=self.log_positives)
        if self.mean_of_positives:
            plain = sides.positives(cost, negatives.total)
            positives = positives._replace(cost=plain.cost, weight=plain.weight)
        self.tell(positives.pairs, negatives.pairs)
        return self.combine(positives, negatives)

    @eagerly
    def forward(
        self,
        embeddings: Embeddings,
        labels: Labels,
        *,
        ref_emb: References | None = None,
        ref_labels: RefLabels | None = None,
        ids: Ids | None = None,
        ref_ids: RefIds | None = None,
    ) -> Scalar:
        """Compare a batch with itself or with references, by cosine; rows may have any length but 0.

        Args:
            embeddings: The anchors, float [batch, dim]; gradient flows to them.
            labels: Class of each, int64 [batch].
            ref_emb: The references, float [refs, dim]; gradient flows to them if they require it.
            ref_labels: Class of each reference, int64 [refs].
            ids: Image of each anchor, int64 [batch]; −1 is unknown. Pairs of one image are ignored.
            ref_ids: Image of each reference, int64 [refs].

        Returns:
            The mean over the anchors, a scalar.

        Raises:
            ShapeError: The shapes or types of the arguments do not fit together.
        """
        return self.compare(*pair_up(embeddings, labels, ref_emb, ref_labels, ids, ref_ids))

    def compare(self, anchors: Tensor, refs: Tensor, pairing: Pairing) -> Scalar:
        """Compute the loss of unit-length anchors against unit-length references; `stats` then describes this call."""
        if len(anchors) == 0:
            self.per_anchor = dict.fromkeys(("positives", "negatives", "anchors"), anchors.new_zeros(1))
            return anchors.sum()
        tensors = (anchors, None if refs is anchors else refs, *self.parameters())
        if not torch.is_grad_enabled():
            tensors = tuple(None if tensor is None else tensor.detach() for tensor in tensors)
        loss: Tensor = AtOnce.apply(self.over, self.per_anchor, pairing, self.width, *tensors)
        return loss

    def tell(self, positives: PerAnchor, negatives: PerAnchor) -> None:
        """Record how many pairs of each anchor count, for `stats`."""
        self.per_anchor |= {"positives": positives, "negatives": negatives}

    def extra_repr(self) -> str:
        """Text of `print(loss)`: the parameters of the class with their current values."""
        values = {name: getattr(self, name, None) for name in inspect.signature(type(self)).parameters}
        return ", ".join(f"{name}={_shown(value)}" for name, value in values.items())


def _shown(value: object) -> str:
    if not isinstance(value, Tensor):
        return repr(value)
    return str(round(value.item(), 4)) if value.numel() == 1 else f"{list(value.shape)}"


def require_positive(**parameters: float) -> None:
    """Refuse parameters of a loss that are not above 0 or not finite."""
    require_finite(**parameters)
    for name, value in parameters.items():
        if value <= 0:
            raise SettingError(f"{name} must be above 0, got {value}")


def require_finite(**parameters: float) -> None:
    """Refuse parameters of a loss that are infinite or NaN."""
    for name, value in parameters.items():
        if not math.isfinite(value):
            raise SettingError(f"{name} must be a finite number, got {value}")


def pair_up(
    embeddings: Tensor,
    labels: Tensor,
    ref_emb: Tensor | None = None,
    ref_labels: Tensor | None = None,
    ids: Tensor | None = None,
    ref_ids: Tensor | None = None,
) -> tuple[Tensor, Tensor, Pairing]:
    """Check the arguments of a loss; return unit anchors, unit references and their pairing."""
    if (ref_emb is None) != (ref_labels is None):
        raise ShapeError("ref_emb and ref_labels go together: give both or neither")
    if ref_emb is not None and (ids is None) != (ref_ids is None):
        raise ShapeError("ids and ref_ids go together where there is ref_emb: give both or neither; −1 is unknown")
    require_rows("embeddings", embeddings)
    require_one_each(len(embeddings), "embeddings", labels=labels, ids=ids)
    anchors = unit(embeddings)
    if ref_emb is None or ref_labels is None:
        return anchors, anchors, Pairing.within(labels, ids)
    require_rows("ref_emb", ref_emb)
    require_one_each(len(ref_emb), "references", ref_labels=ref_labels, ref_ids=ref_ids)
    if ref_emb.shape[1] != embeddings.shape[1]:
        raise ShapeError(f"rows of ref_emb are {ref_emb.shape[1]} long, those of embeddings {embeddings.shape[1]}")
    return anchors, unit(ref_emb), Pairing(labels, ref_labels, ids, ref_ids)
