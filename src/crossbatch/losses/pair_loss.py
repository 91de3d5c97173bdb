"""The base class of pair losses: a formula for the cost of a negative, of a positive, and the loss of an anchor."""

import inspect
import math
from abc import abstractmethod
from typing import ClassVar

import torch
from torch import Tensor

from crossbatch.errors import SettingError
from crossbatch.losses.comparing import Comparing
from crossbatch.losses.engine.costs import Above, Cost, Costs, Declared, Exponent
from crossbatch.losses.engine.sides import AtOnce, Streamed
from crossbatch.losses.engine.sums import Sums
from crossbatch.losses.engine.whole import Whole
from crossbatch.losses.pairing import Pairing
from crossbatch.shapes import PerAnchor, Scalar

__all__ = ["Above", "Costs", "Exponent", "PairLoss", "Sums", "require_finite", "require_positive"]


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
        cost: Cost = self.negative
        log = cost.log if isinstance(cost, Declared) else self.log_negatives
        if isinstance(cost, Declared) and cost.is_learnt:
            cost = self._negative_as_written
        # The search for the farthest positives is a pass over all pairs, so only a loss that has a context asks for it.
        context = self.context(sides.farthest) if type(self).context is not PairLoss.context else ()
        if isinstance(context, Tensor):
            raise SettingError(f"context of {type(self).__name__} returns a tensor, not a tuple: return (…,)")
        negatives = sides.negatives(cost, *context, log=log, nearest=self.nearest_negative)

        def of_positive(s: Tensor, total: Tensor) -> Costs:
            # `total` is an argument, so that the gradient of a positive's cost flows through it to the negatives.
            capped = s.clamp(max=self.room) if self.room < 1 else s
            sums = negatives._replace(total=total, cost=None if negatives.cost is None else total)
            costs = self.positive(capped, sums)
            if self.room < 1 and isinstance(costs, Tensor) and not self.log_positives:
                return torch.where(s < self.room, costs, 0)
            return costs

        positives = sides.positives(of_positive, negatives.total, log=self.log_positives)
        if self.mean_of_positives:
            plain = sides.positives(of_positive, negatives.total)
            positives = positives._replace(cost=plain.cost, weight=plain.weight)
        self.tell(positives.pairs, negatives.pairs)
        return self.combine(positives, negatives)

    def _negative_as_written(self, s: Tensor, *context: Tensor) -> Costs:
        """Call a declared cost as a function: its own sums have no gradient by a number that is learnt."""
        return self.negative(s, *context)

    def compare(self, anchors: Tensor, refs: Tensor, pairing: Pairing) -> Scalar:
        """Compute the loss of unit-length anchors against unit-length references; `stats` then describes this call."""
        for name, value in vars(self).items():
            if isinstance(value, Tensor) and value.requires_grad:
                problem = f"{name} of {type(self).__name__} has a gradient and is no parameter of it"
                raise SettingError(f"{problem}: make it an nn.Parameter, or detach it")
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


def require_number(**parameters: object) -> None:
    """Refuse parameters of a loss that are tensors, where a loss has no gradient by them."""
    for name, value in parameters.items():
        if isinstance(value, Tensor):
            raise SettingError(f"{name} is a number and is not learnt, got a {type(value).__name__}: give its value")


def require_finite(**parameters: float) -> None:
    """Refuse parameters of a loss that are infinite or NaN."""
    for name, value in parameters.items():
        if not math.isfinite(value.detach() if isinstance(value, Tensor) else value):
            raise SettingError(f"{name} must be a finite number, got {value}")
