"""Exclude a function from `torch.compile`: it depends on the data and would be compiled again and again."""

import sys
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


def eagerly(function: Callable[P, R]) -> Callable[P, R]:
    """Decorator like `torch.compiler.disable`, whose import takes a second: applied only once dynamo is imported."""

    @wraps(function)
    def call(*arguments: P.args, **options: P.kwargs) -> R:
        dynamo = sys.modules.get("torch._dynamo")
        return (function if dynamo is None else dynamo.disable(function))(*arguments, **options)

    return call
