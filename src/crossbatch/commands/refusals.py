"""What jsonargparse refuses, in one sentence: what was given, what fits, and the way out."""

import difflib
import re
from collections.abc import Sequence
from pathlib import Path
from types import NoneType
from typing import Any, Literal, get_args, get_origin

from jsonargparse import ArgumentParser
from jsonargparse.typing import ClosedUnitInterval, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt
from torch import nn

from crossbatch.imported import imported_class

KINDS: dict[Any, str] = {
    NonNegativeInt: "a whole number that is not negative",
    PositiveInt: "a whole number of at least 1",
    NonNegativeFloat: "a number that is not negative",
    PositiveFloat: "a number above 0",
    ClosedUnitInterval: "a number from 0 to 1",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "a word",
    Path: "a path",
}


def refusal(error: Exception, parser: ArgumentParser, given: Sequence[str]) -> str:
    """The sentence for an error of the parser, of the words that it was given."""
    message = " ".join(str(error).split())
    actions = {one.dest: one for one in parser._actions}
    unknown = re.match(r"unrecognized arguments: (.*)", message)
    if unknown:
        first = unknown[1].split()[0].split("=")[0]
        close = difflib.get_close_matches(first, [f"--{name}" for name in actions], 1, 0.8)
        hint = f"did you mean {close[0]}?" if first.startswith("-") and close else "see --help-all"
        return f"{message}: {hint}"
    found = re.match(r'Parser key "([^"]+)": (.*)', message)
    if not found:
        return message
    key, reason = found.groups()
    shown = re.findall(r"[Gg](?:ot|iven) value: (.*?)(?: Given|$)|: (\S+) does not conform", reason)
    value = "".join(shown[-1] if shown else ()) or _value(f"--{key}", given)
    if key == "loss":
        return _loss_refusal(value, reason)
    fits = _fits(getattr(actions.get(key), "_typehint", None))
    return f"--{key} takes {fits}, got {value}" if fits and value else f"--{key}: {reason}"


def _loss_refusal(value: str, reason: str) -> str:
    """Of a loss: its class, one of its options, or the value of one."""
    name = (re.findall(r"class_path '(?:[^']*\.)?([^']+)'", reason) or ["CLASS"])[0]
    way_out = f"--loss.help {name} lists its options"
    patterns = {
        r"Option '([^']+)' is not accepted": "{} has no option --loss.{}: {}",
        r"arguments are required: (.*?) - ": "{} needs --loss.{}: {}",
        r"Parser key \"([^\"]+)\"": "{} does not take this --loss.{}: {}",
        r"NestedArg\(key='([^']+)'": "{} does not take this --loss.{}: {}",
    }
    for pattern, sentence in patterns.items():
        found = re.search(pattern, reason)
        if found:
            return sentence.format(name, found[1].replace(", ", ", --loss."), way_out)
    imported_class(value, "--loss", nn.Module)  # says what is wrong with a class path
    return f"--loss {value}: {reason}"


def _value(option: str, given: Sequence[str]) -> str:
    """What an option was given on the command line."""
    for word, after in zip(given, [*given[1:], ""], strict=False):
        name, equals, value = word.partition("=")
        if name == option:
            return value if equals else after
    return ""


def _fits(kind: Any) -> str:
    """In words, what a type takes."""
    if get_origin(kind) is Literal:
        return f"one of {', '.join(map(str, get_args(kind)))}"
    if get_origin(kind) is list:
        return f"{_fits(get_args(kind)[0])}, once each or as [a,b]"
    if kind in KINDS:
        return KINDS[kind]
    return " or ".join(filter(None, (_fits(one) for one in get_args(kind) if one is not NoneType)))
