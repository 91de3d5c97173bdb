"""Dataclasses made from the plain values of files and of the command line."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any, TypeVar

Kind = TypeVar("Kind")


def made(kind: type[Kind], given: Mapping[str, Any]) -> Kind:
    """Make a dataclass, and the dataclasses in it, from plain values; the other fields keep their defaults."""
    if not isinstance(given, Mapping):
        raise TypeError(f"{kind.__name__} are options by name, got {given}")
    inner: dict[str, Any] = {field.name: field.type for field in fields(kind) if is_dataclass(field.type)}  # type: ignore[arg-type]
    return kind(
        **{name: made(inner[name], value) if name in inner else as_plain(value) for name, value in given.items()}
    )


def as_plain(value: Any) -> Any:
    """Turn numbers into plain int and float: the parser has its own types for restricted numbers."""
    if isinstance(value, list):
        return [as_plain(item) for item in value]
    return next((kind(value) for kind in (int, float) if isinstance(value, kind) and type(value) is not bool), value)
