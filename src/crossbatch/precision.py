"""Leave autocast out where numbers are compared: a product in half precision would order neighbours anew."""

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

import torch
from torch import Tensor

P = ParamSpec("P")
R = TypeVar("R")


def without_autocast(device: torch.device) -> torch.autocast:
    """A context in which a device computes in the precision of what it is given."""
    return torch.autocast(device.type if torch.amp.is_autocast_available(device.type) else "cpu", enabled=False)


def exactly(function: Callable[P, R]) -> Callable[P, R]:
    """A function that computes without autocast, whoever calls it, on the device of the first tensor it is given."""

    @wraps(function)
    def call(*arguments: P.args, **options: P.kwargs) -> R:
        given = (one for one in (*arguments, *options.values()) if isinstance(one, Tensor))
        with without_autocast(next((one.device for one in given), torch.device("cpu"))):
            return function(*arguments, **options)

    return call
