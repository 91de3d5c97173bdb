"""The options of a command: its signature, parsed by jsonargparse from a command line or from a call in Python."""

import inspect
from argparse import SUPPRESS
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, fields, is_dataclass
from pathlib import Path
from typing import Any, get_origin

import yaml
from docstring_parser import parse as parse_docstring
from jsonargparse import ActionConfigFile, ArgumentError, ArgumentParser
from torch import nn

from crossbatch import runs
from crossbatch.commands.refusals import refusal
from crossbatch.errors import SettingError
from crossbatch.imported import imported
from crossbatch.losses import LOSSES, PairLoss
from crossbatch.training.option_names import class_path, current
from crossbatch.training.settings import LossSettings, Settings, made

RECIPES = Path(__file__).parents[1] / "recipes"
TRAIN = ("train", "compare", "tune")  # commands that share files of options
ROOT_HELP = (
    "Your images: a folder with a folder for each class, or a table (.csv, .tsv) of path,label[,role]; "
    "or a published data set. Without it, glyphs are drawn."
)


class OptionsFile(ActionConfigFile):
    """`--config FILE` or `--recipe NAME`: options from YAML, under the names of now or of before."""

    def __call__(self, parser: Any, cfg: Any, values: Any, option_string: str | None = None) -> None:
        """Put them beneath what follows on the command line."""
        path = recipe_path(values) if option_string == "--recipe" else Path(values)
        others = options_of_others(parser)
        options = {name: value for name, value in current(runs.read_options(path)).items() if name not in others}
        self.apply_config(parser, cfg, self.dest, yaml.safe_dump(options))


def command_named(name: str) -> Callable[..., Any]:
    """The function of a command."""
    found: Callable[..., Any] = imported(f"crossbatch.commands.{name}.{name}", "the command")
    return found


def parser_for(name: str) -> ArgumentParser:
    """A parameter is an option; `settings` are options named as their fields; the root goes without a name."""
    command = command_named(name)
    parameters, docstrings = inspect.signature(command).parameters, parse_docstring(inspect.getdoc(command) or "")
    parser = ArgumentParser(
        prog=f"crossbatch {name}",
        description=(inspect.getdoc(command) or "").split("\n\nArgs:")[0],
        exit_on_error=False,
        add_help=False,
    )
    skip: set[str | int] = {"settings", "console"}
    if {"settings", "root"} & {next(iter(parameters))}:
        parser.add_argument("root", nargs="?", type=Path, default=SUPPRESS, help=ROOT_HELP)
        parser.add_argument("--root", dest="root", type=Path, help=SUPPRESS)
        skip.add("root")
    if "images" in parameters:
        skip.add("images")
    parser.add_function_arguments(command, as_group=False, as_positional=True, skip=skip)
    if "images" in parameters:
        told = next(one.description for one in docstrings.params if one.arg_name == "images")
        parser.add_argument("images", nargs="*", type=Path, default=[], help=told)
    if "settings" in parameters:
        told = "Options from a YAML file, or from a recipe of ours, as sop-resnet50."
        parser.add_argument("--config", "--recipe", action=OptionsFile, help=told)
        parser.add_class_arguments(Settings, nested_key=None, as_group=False, skip={"root", "loss"})
        told = f"Pair loss: {', '.join(LOSSES)}, or a class path; --loss.help CLASS lists its options."
        parser.add_subclass_arguments((PairLoss, nn.Module), "loss", as_group=False, metavar="NAME", help=told)
        parser.set_defaults({"loss": asdict(LossSettings())})
    parser.add_argument("--json", type=bool, default=False, help="Print the result as JSON, and nothing else.")
    return parser


def options_of_others(parser: ArgumentParser) -> set[str]:
    """Options of other commands that train: a file may hold those of all of them."""
    found = {one for name in TRAIN for one in inspect.signature(command_named(name)).parameters}
    return found - {one.dest for one in parser._actions}


def parse(name: str, given: Sequence[str] | Mapping[str, Any]) -> tuple[dict[str, Any], bool]:
    """What to call a command with, of words of a command line or of options by name; and whether JSON is wanted."""
    parser, parameters = parser_for(name), inspect.signature(command_named(name)).parameters
    by_name = isinstance(given, Mapping)
    try:
        if isinstance(given, Mapping):
            found = parser.parse_object(current(given), defaults=False).as_dict()
        else:
            found = parser.parse_args(spelt(parser, given), defaults=False).as_dict()
    except ArgumentError as error:
        raise SettingError(refusal(error, parser, () if by_name else tuple(given))) from error
    found.pop("config", None)
    as_json = bool(found.pop("json", False))
    if "settings" in parameters:
        names = [one.name for one in fields(Settings)]
        found["settings"] = made(Settings, {one: found.pop(one) for one in names if one in found})
    kinds = {one: parameters[one].annotation for one in found if is_dataclass(parameters[one].annotation)}
    return found | {one: made(kinds[one], found[one]) for one in kinds if isinstance(found[one], dict)}, as_json


def spelt(parser: ArgumentParser, words: Sequence[str]) -> list[str]:
    """As jsonargparse wants it: `--loss triplet` by its class, `--json` as true, a list option that is given again."""
    flags, lists = (names_of(parser, kind) for kind in (bool, list))
    words = [
        part
        for word in words
        for part in (word.split("=", 1) if word.startswith(("--loss=", "--loss.help=")) else [word])
    ]
    found = []
    for before, word, after in zip(["", *words], words, [*words[1:], ""], strict=False):
        if word.startswith("--loss_options."):
            raise SettingError(f"{word} is now {word.replace('_options', '', 1)}")
        if before in ("--loss", "--loss.help") and not word.startswith(("-", "{")):
            found.append(class_path(word))
        elif word in flags and after not in ("true", "false"):
            found.append(f"{word}=true")
        else:
            found.append(f"{word}+" if word in lists and not after.startswith("[") else word)
    return in_order(parser, found)


def in_order(parser: ArgumentParser, words: Sequence[str]) -> list[str]:
    """Words without a name first, where a command takes any number of them: argparse wants these together."""
    if all(one.nargs != "*" for one in parser._actions):
        return list(words)
    plain: list[str] = []
    named: list[str] = []
    for before, word in zip(["", *words], words, strict=False):
        is_value = before.startswith("--") and "=" not in before
        (named if word.startswith("-") or is_value else plain).append(word)
    return [*plain, *named]


def names_of(parser: ArgumentParser, kind: type) -> list[str]:
    """Options whose values are of a kind."""
    hints = {one: getattr(one, "_typehint", None) for one in parser._actions}
    return [name for one, hint in hints.items() if kind in (hint, get_origin(hint)) for name in one.option_strings]


def recipes() -> list[str]:
    """Names of the configurations that we ship."""
    return sorted(path.stem for path in RECIPES.glob("*.yaml"))


def recipe_path(name: str) -> Path:
    """File of a configuration that we ship."""
    if name not in recipes():
        raise SettingError(f"there is no recipe {name!r}: choose one of {', '.join(recipes())}")
    return RECIPES / f"{name}.yaml"
