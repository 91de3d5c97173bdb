"""Turn autocast off where similarities are compared: products in half precision change the order of neighbours."""

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

import torch
from torch import Tensor

P = ParamSpec("P")
R = TypeVar("R")


def without_autocast(device: torch.device) -> torch.autocast:
    """Context without autocast: the device computes in the dtypes of its inputs."""
    return torch.autocast(device.type if torch.amp.is_autocast_available(device.type) else "cpu", enabled=False)


def exactly(function: Callable[P, R]) -> Callable[P, R]:
    """Decorator: run a function without autocast on the device of its first tensor argument."""

    @wraps(function)
    def call(*arguments: P.args, **options: P.kwargs) -> R:
        tensors = (tensor for tensor in (*arguments, *options.values()) if isinstance(tensor, Tensor))
        with without_autocast(next((tensor.device for tensor in tensors), torch.device("cpu"))):
            return function(*arguments, **options)

    return call
