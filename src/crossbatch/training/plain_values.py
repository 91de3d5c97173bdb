"""Dataclasses made of plain values, as files and the command line give them."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any, TypeVar

Kind = TypeVar("Kind")


def made(kind: type[Kind], given: Mapping[str, Any]) -> Kind:
    """A dataclass of the values given, and the dataclasses in it of theirs; all else by default."""
    if not isinstance(given, Mapping):
        raise TypeError(f"{kind.__name__} are options by name, got {given}")
    inner: dict[str, Any] = {one.name: one.type for one in fields(kind) if is_dataclass(one.type)}  # type: ignore[arg-type]
    return kind(
        **{name: made(inner[name], value) if name in inner else as_plain(value) for name, value in given.items()}
    )


def as_plain(value: Any) -> Any:
    """A number as a plain one: those that the parser restricts are of types of its own."""
    if isinstance(value, list):
        return [as_plain(one) for one in value]
    return next((kind(value) for kind in (int, float) if isinstance(value, kind) and type(value) is not bool), value)
