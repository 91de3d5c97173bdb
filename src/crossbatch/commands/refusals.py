"""Errors of jsonargparse as one sentence: the value given, the values that fit, and the way out."""

import difflib
import math
import re
from argparse import SUPPRESS
from collections.abc import Sequence
from pathlib import Path
from types import NoneType
from typing import Any, Literal, get_args, get_origin

from jsonargparse import ArgumentParser, Namespace
from jsonargparse.typing import ClosedUnitInterval, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from crossbatch.data.augment import AtLeastOne
from crossbatch.errors import SettingError
from crossbatch.imported import imported_class

MEANT = {  # options that people know from other programs by these names
    "epochs": "optim.steps",
    "batch_size": "batch.classes",
    "learning_rate": "optim.lr",
}
LARGEST, LOSS = 2**63, "a name or a class path"
UNKNOWN, ALIKE = "unrecognized arguments: ", 0.8  # how alike a name and an option must be, from 0 to 1
KINDS: dict[Any, str] = {
    NonNegativeInt: "a whole number that is not negative",
    PositiveInt: "a whole number of at least 1",
    NonNegativeFloat: "a number that is not negative",
    PositiveFloat: "a number above 0",
    ClosedUnitInterval: "a number from 0 to 1",
    AtLeastOne: "a number of at least 1",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "a word",
    Path: "a path",
}


def refusal(error: Exception, parser: ArgumentParser, given: Sequence[str]) -> str:
    """The sentence for an error of the parser; `given`: the words that it parsed, empty for a call in Python."""
    message = " ".join(str(error).split())
    actions = {action.dest: action for action in parser._actions}
    named = re.match(r"(?:Group '([^']+)' does not accept o|O)ption '([^']+)'", message)  # in a file, or in Python
    if named:
        message = f"unrecognized arguments: --{'.'.join(filter(None, named.groups()))}"
    if message.startswith(UNKNOWN):
        return _unknown(message.removeprefix(UNKNOWN), parser, in_python=not given)
    of_key = re.match(r'Parser key "([^"]+)": (.*)', message)
    if not of_key:
        return message
    key, reason = of_key.groups()
    if plain := re.match(r"Unable to load config ['\"](.*?)['\"] - ", reason):  # a group is given a plain value
        meant = f": --augment.policy {plain[1]}" if key == "augment" else ""
        return f"--{key} takes options by name, got {plain[1]}{meant}"
    if wrong := re.match(r"Not of type (\w+): (?:invalid literal|could not convert).*: '(.*)'$", reason):  # in Python
        fits = next((words for kind, words in KINDS.items() if kind.__name__ == wrong[1]), "")
        return f"--{key} takes {fits}, got {wrong[2]}" if fits else f"--{key}: {reason}"
    shown = re.findall(r"[Gg](?:ot|iven) value: (.*?)(?: Given|$)|: (\S+) does not conform", reason)
    value = "".join(shown[-1] if shown else ()) or _value(f"--{key}", given)
    if key == "loss":
        return _loss_refusal(value, reason)
    fits = _fits(getattr(actions.get(key), "_typehint", None))
    return f"--{key} takes {fits}, got {value}" if fits and value else f"--{key}: {reason}"


def _unknown(words: str, parser: ArgumentParser, *, in_python: bool) -> str:
    """The sentence for words that are no options, with the option that the first of them may mean."""
    first = re.split(r"[ =]", words, maxsplit=1)[0]
    name, names = first.lstrip("-"), [action.dest for action in parser._actions]
    meant = _closest(name, names) or (MEANT.get(name) if MEANT.get(name) in names else None)
    if in_python:
        hint = f"did you mean {_in_python(meant)}?" if meant else f"{parser.prog} --help-all lists the options"
        return f"{UNKNOWN}{_in_python(name)}: {hint}"
    hint = f"did you mean --{meant}?" if first.startswith("-") and meant else "see --help-all"
    return f"{UNKNOWN}{words}: {hint}"


def _closest(name: str, options: Sequence[str]) -> str | None:
    """The option that looks most like an unknown name, as a whole or in its last part; None if none does.

    Of names that are equally like it, one of the same letters in another order comes first.
    """

    def likeness(option: str) -> tuple[float, bool]:
        parts = {option, option.rpartition(".")[2]}
        ratio = max(difflib.SequenceMatcher(None, f"--{name}", f"--{part}").ratio() for part in parts)
        return ratio, sorted(name) in map(sorted, parts)

    best = max(options, key=likeness)
    return best if likeness(best)[0] >= ALIKE else None


def _in_python(option: str) -> str:
    """An option as it is written in a call in Python."""
    group, _, name = option.rpartition(".")
    return f"{group}={{'{name}': …}}" if group else f"{name}=…"


def refuse_unusable(found: Namespace, parser: ArgumentParser) -> None:
    """Refuse values that the parser accepts although a command cannot use them.

    These are null for an option with a default, a plain value for a group of options, and numbers that are not finite
    or too large.
    """
    for action in parser._actions:
        kind, value = getattr(action, "_typehint", None), found.get(action.dest, action)
        if value is action:  # the option is not given
            continue
        if kind is None and not isinstance(value, Namespace):
            fits = "options by name"
        elif value is None and action.default not in (None, SUPPRESS):
            fits = _fits(kind) or LOSS
        else:
            fits = next(filter(None, map(_without_end, value if isinstance(value, list) else [value])), "")
        if fits:
            shown = "nothing: give it, or leave it out" if value is None else value
            raise SettingError(f"--{action.dest} takes {fits}, got {shown}")


def _without_end(value: Any) -> str:
    """The kind of number that fits, for a number that is not finite or is too large; else empty."""
    if isinstance(value, float) and not math.isfinite(value):
        return "a finite number"
    beyond = isinstance(value, int) and abs(value) >= LARGEST
    return "a whole number between -2**63 and 2**63" if beyond else ""


def refuse_loss(given: Any) -> None:
    """Refuse an instance or a class of a loss: a run folder can keep only its name and options."""
    kind = given if isinstance(given, type) else type(given)
    if not issubclass(kind, str | dict) and issubclass(kind, _module()):
        raise SettingError(
            f"a loss is given by its name or class path, which the run folder keeps, got a {kind.__name__}: "
            f"give loss={{'class_path': '{kind.__module__}.{kind.__qualname__}', 'init_args': {{…}}}}"
        )


def _module() -> type:
    from torch import nn  # noqa: PLC0415

    return nn.Module


def _loss_refusal(value: str, reason: str) -> str:
    """The sentence for an error of --loss: of its class, of an option of the class, or of the value of an option."""
    name = (re.findall(r"class_path '(?:[^']*\.)?([^']+)'", reason) or ["CLASS"])[0]
    way_out = f"--loss.help {name} lists its options"
    patterns = {
        r"Option '([^']+)' is not accepted": "{} has no option --loss.{}: {}",
        r"arguments are required: (.*?) - ": "{} needs --loss.{}: {}",
        r"Parser key \"([^\"]+)\"": "{} does not take this --loss.{}: {}",
        r"NestedArg\(key='([^']+)'": "{} does not take this --loss.{}: {}",
    }
    for pattern, sentence in patterns.items():
        match = re.search(pattern, reason)
        if match:
            return sentence.format(name, match[1].replace(", ", ", --loss."), way_out)
    if value.startswith("{"):
        return f"--loss takes {LOSS}, and its options as init_args, got {value}"
    imported_class(value, "--loss", _module())  # raises an error that says what is wrong with a class path
    return f"--loss {value}: {reason}"


def _value(option: str, given: Sequence[str]) -> str:
    """The value of an option on the command line; empty if the option is not there."""
    for word, after in zip(given, [*given[1:], ""], strict=False):
        name, equals, value = word.partition("=")
        if name == option:
            return value if equals else after
    return ""


def _fits(kind: Any) -> str:
    """The values that fit a type, in words; empty if unknown."""
    if get_origin(kind) is Literal:
        return f"one of {', '.join(map(str, get_args(kind)))}"
    if get_origin(kind) is dict:
        return "options by name, which a file of --config gives"
    if get_origin(kind) is list:
        return f"{_fits(get_args(kind)[0])}, once each or as [a,b]"
    if kind in KINDS:
        return KINDS[kind]
    return " or ".join(filter(None, (_fits(part) for part in get_args(kind) if part is not NoneType)))
