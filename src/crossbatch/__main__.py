"""The command line: one dictionary of commands. A command's signature is its options and its help."""

import inspect
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import fields, is_dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any

from jsonargparse import ActionConfigFile, ArgumentError, ArgumentParser, Namespace

import crossbatch
from crossbatch.commands.compare import compare
from crossbatch.commands.drift import drift
from crossbatch.commands.evaluate import evaluate
from crossbatch.commands.inspect import inspect as inspect_data
from crossbatch.commands.report import report
from crossbatch.commands.train import train
from crossbatch.errors import CrossBatchError, DivergedError, MissingExtraError, SettingError

COMMANDS: dict[str, Callable[..., int]] = {
    "train": train,
    "compare": compare,
    "evaluate": evaluate,
    "drift": drift,
    "report": report,
    "inspect": inspect_data,
}
FLAGS = ("--json", "--refit", "--trust")
RECIPES = Path(__file__).parent / "recipes"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; 0: done, 1: the run failed or was stopped, 2: bad input, told in one line."""
    try:
        parsers = {name: command_parser(name, command) for name, command in COMMANDS.items()}
        options = whole_parser(parsers).parse_args(spell_out(sys.argv[1:] if arguments is None else arguments))
        name = options.subcommand
        return call(COMMANDS[name], parsers[name].instantiate(options[name]))
    except (CrossBatchError, ArgumentError) as error:
        print(f"crossbatch: {' '.join(str(error).split())}", file=sys.stderr)
        return 1 if isinstance(error, DivergedError) else 2
    except ModuleNotFoundError as error:
        if (error.name or "crossbatch").startswith("crossbatch"):
            raise
        print(f"crossbatch: {MissingExtraError('this command', str(error.name), 'train')}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("crossbatch: stopped", file=sys.stderr)
        return 1


def whole_parser(parsers: dict[str, ArgumentParser]) -> ArgumentParser:
    """One subcommand a command."""
    parser = ArgumentParser(prog="crossbatch", description=crossbatch.__doc__, exit_on_error=False)
    parser.add_argument("--version", action="version", version=f"crossbatch {crossbatch.__version__}")
    subcommands = parser.add_subcommands(required=True, title="commands", metavar="COMMAND")
    for name, one in parsers.items():
        subcommands.add_subcommand(name, one, help=(one.description or "").split("\n")[0])
    return parser


def command_parser(name: str, command: Callable[..., int]) -> ArgumentParser:
    """A parameter is an option; one that is a dataclass becomes options named as its fields."""
    described = (inspect.getdoc(command) or "").split("\n\nArgs:")[0]
    parser = ArgumentParser(prog=f"crossbatch {name}", description=described, exit_on_error=False)
    spread = _spread(command)
    if spread:
        parser.add_argument("--config", action=ActionConfigFile, help="YAML file with any of these options.")
        shipped = ", ".join(recipes())
        parser.add_argument("--recipe", type=str, default=None, help=f"A configuration that we ship: {shipped}.")
    for kind in spread.values():
        parser.add_class_arguments(kind, nested_key=None, as_group=False)
    parser.add_function_arguments(command, as_group=False, as_positional=True, skip=set(spread))
    return parser


def call(command: Callable[..., int], options: Namespace) -> int:
    """Call a command with its options, gathering those of a dataclass again."""
    values = {name: value for name, value in vars(options).items() if name not in ("config", "recipe")}
    for parameter, kind in _spread(command).items():
        values[parameter] = kind(**{field.name: values.pop(field.name) for field in fields(kind)})
    return command(**values)


def spell_out(arguments: Sequence[str]) -> list[str]:
    """`--recipe NAME` is that configuration's file, `--json` alone means `--json true`, `--fonts A B` is a list."""
    spelt: list[str] = []
    rest = list(arguments)
    while rest:
        argument = rest.pop(0)
        name, _, value = argument.partition("=")
        if name == "--recipe" and (value or rest):
            spelt += ["--config", recipe_path(value or rest.pop(0))]
        elif argument == "--fonts":
            places = list(takewhile(lambda one: not one.startswith("-"), rest))
            rest = rest[len(places) :]
            spelt += [argument, places[0] if len(places) == 1 and places[0].startswith("[") else json.dumps(places)]
        elif argument in FLAGS and rest[:1] not in (["true"], ["false"]):
            spelt += [argument, "true"]
        else:
            spelt.append(argument)
    return spelt


def recipes() -> list[str]:
    """Names of the configurations that we ship."""
    return sorted(path.stem for path in RECIPES.glob("*.yaml"))


def recipe_path(name: str) -> str:
    """File of a configuration that we ship."""
    if name not in recipes():
        raise SettingError(f"there is no recipe {name!r}: choose one of {', '.join(recipes())}")
    return str(RECIPES / f"{name}.yaml")


def _spread(command: Callable[..., int]) -> dict[str, type[Any]]:
    """The parameter of a command, named settings, whose fields are options of the command."""
    parameters = inspect.signature(command).parameters.values()
    kinds = {one.name: one.annotation for one in parameters if isinstance(one.annotation, type)}
    return {name: kind for name, kind in kinds.items() if is_dataclass(kind) and name == "settings"}


if __name__ == "__main__":
    sys.exit(main())
