"""Pooling: from the last feature maps to one feature vector an image."""

from typing import get_args

import torch
from torch import Tensor, nn

from crossbatch.errors import SettingError
from crossbatch.models.pooling_names import Pooling
from crossbatch.shapes import Features, Maps

GRID = 2  # rows and columns of cells that `grid` pools separately


def generalized_mean(maps: Maps, power: Tensor, eps: float = 1e-6) -> Features:
    """Generalized mean over all places: `mean(x ** p) ** (1 / p)`; values below `eps` count as `eps`.

    A power of 1 gives the mean, a large power nearly the maximum. Computed in float32, since cubes of the values may
    leave the range of half precision.
    Source: Radenović, Tolias, Chum, Fine-tuning CNN image retrieval with no human annotation, TPAMI 2018.
    """
    pooled: Tensor = maps.float().clamp(min=eps).pow(power).mean((2, 3)).pow(1 / power)
    return pooled.to(maps.dtype)


class GeneralizedMean(nn.Module):
    """Generalized-mean pooling (GeM) with a learnt power, which starts at 3."""

    def __init__(self) -> None:
        super().__init__()
        self.power = nn.Parameter(torch.tensor(3.0))

    def forward(self, maps: Maps) -> Features:
        """Pool each map."""
        return generalized_mean(maps, self.power)


class Average(nn.AdaptiveAvgPool2d):
    """The mean over all places."""

    def __init__(self) -> None:
        super().__init__(1)

    def forward(self, maps: Maps) -> Features:
        """Pool each map."""
        return super().forward(maps).flatten(1)


class Maximum(nn.AdaptiveMaxPool2d):
    """The largest value of all places, as in the code of the XBM paper."""

    def __init__(self) -> None:
        super().__init__(1)

    def forward(self, maps: Maps) -> Features:
        """Pool each map."""
        pooled: Tensor = super().forward(maps)
        return pooled.flatten(1)


class Grid(nn.Sequential):
    """The mean over each quarter of the image, then batch normalisation. Keeps rough positions, for small images."""

    def __init__(self, features: int) -> None:
        super().__init__(nn.AdaptiveAvgPool2d(GRID), nn.Flatten(), nn.BatchNorm1d(features * GRID**2))

    def forward(self, maps: Maps) -> Tensor:
        """Pool each quarter of each map: four times the features."""
        pooled: Tensor = super().forward(maps)  # type: ignore[no-untyped-call]
        return pooled


def pooling_by_name(name: str, features: int) -> tuple[nn.Module, int]:
    """Build a pooling of `features` maps by its name; return it with the number of features that it gives."""
    if name not in get_args(Pooling):
        raise SettingError(f"there is no pooling {name!r}: choose one of {', '.join(get_args(Pooling))}")
    if name == "grid":
        return Grid(features), features * GRID**2
    return {"avg": Average, "max": Maximum, "gem": GeneralizedMean}[name](), features
