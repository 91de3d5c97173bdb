"""The options of a command: made from its signature, parsed by jsonargparse from a command line or a call in Python."""

import inspect
from argparse import SUPPRESS
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, fields, is_dataclass
from pathlib import Path
from typing import Any, get_args, get_origin

import yaml
from docstring_parser import parse as parse_docstring
from jsonargparse import ActionConfigFile, ArgumentError, ArgumentParser, Namespace

from crossbatch import runs
from crossbatch.commands.refusals import refusal, refuse_loss, refuse_unusable
from crossbatch.errors import SettingError
from crossbatch.imported import imported
from crossbatch.loss_names import CLASSES
from crossbatch.training.option_names import class_path, with_class
from crossbatch.training.plain_values import as_plain, made
from crossbatch.training.settings import LossSettings, Settings

RECIPES = Path(__file__).parents[1] / "recipes"
TRAIN = ("train", "compare", "tune")  # commands that share files of options
FILES = ("--config", "--recipe")
SWITCHED = {**dict.fromkeys(("true", "yes", "on"), "true"), **dict.fromkeys(("false", "no", "off"), "false")}
SWITCHED |= {"null": "null"}  # leaves an optional switch unset
NOT_OPTIONS = {"settings", "given", "console"}  # parameters of commands that are no options themselves
ROOT_HELP = (
    "Your images: a folder that holds one folder per class, or a table (.csv, .tsv, .parquet, .jsonl) of "
    "path,label[,role]; or a published data set. Without it, glyphs are drawn."
)

OF_LOSS = ("--loss", "--loss.help", "--loss.class_path")  # options that name a class of a loss


class Parser(ArgumentParser):
    """A parser that knows which loss is given outside files."""

    given_loss: str | None = None


class OptionsFile(ActionConfigFile):
    """`--config FILE` or `--recipe NAME`: options from YAML."""

    def __call__(self, parser: Any, cfg: Any, values: Any, option_string: str | None = None) -> None:
        """Apply the options of the file; those of the command line, which `spelt` puts after it, override them.

        If another loss is given beside a file that is no recipe, it has its recommended options, not those of the file.
        """
        path = recipe_path(values) if option_string == "--recipe" else _file(values)
        others = options_of_others(parser)
        options = {name: value for name, value in with_class(runs.read_options(path)).items() if name not in others}
        if option_string != "--recipe" and names_another(options, parser.given_loss):
            options = {name: value for name, value in options.items() if name not in ("loss", "recommended")}
        _reach_loss(options)
        self.apply_config(parser, cfg, self.dest, yaml.safe_dump(options))


def command_named(name: str) -> Callable[..., Any]:
    """The function of a command."""
    command: Callable[..., Any] = imported(f"crossbatch.commands.{name}.{name}", "the command")
    return command


def parser_for(name: str, *, shown: bool = False) -> Parser:
    """The parser of a command: an option for each parameter and each field of `settings`; the root is positional.

    With `shown` the parser serves only to show help: it takes --loss as plain text, so torch is not imported.
    """
    command = command_named(name)
    parameters, docstrings = inspect.signature(command).parameters, parse_docstring(inspect.getdoc(command) or "")
    parser = Parser(
        prog=f"crossbatch {name}",
        description=(inspect.getdoc(command) or "").split("\n\nArgs:")[0],
        exit_on_error=False,
        add_help=False,
        allow_abbrev=False,
    )
    skip: set[str | int] = {*NOT_OPTIONS}
    if {"settings", "root"} & {next(iter(parameters))}:
        parser.add_argument("root", nargs="?", type=Path, default=SUPPRESS, help=ROOT_HELP)
        parser.add_argument("--root", dest="root", type=Path, help=SUPPRESS)
        skip.add("root")
    if "images" in parameters:
        skip.add("images")
    parser.add_function_arguments(command, as_group=False, as_positional=True, skip=skip)
    if "images" in parameters:
        text = next(param.description for param in docstrings.params if param.arg_name == "images")
        parser.add_argument("images", nargs="*", type=Path, default=[], help=text)
    if "settings" in parameters:
        text = "Options from a YAML file, or from a built-in recipe, such as sop-resnet50."
        parser.add_argument(*FILES, action=OptionsFile, help=text)
        parser.add_class_arguments(Settings, nested_key=None, as_group=False, skip={"root", "loss"})
        text = f"Pair loss: {', '.join(CLASSES)}, or a class path; --loss.help CLASS lists its options."
        if shown:
            parser.add_argument("--loss", metavar="NAME", default=LossSettings().class_path, help=text)
        else:
            _add_loss(parser, text)
    told = "Print the result as JSON, the rest to stderr."
    parser.add_argument("--json", type=bool, default=False, help=told)
    return parser


def _add_loss(parser: ArgumentParser, told: str) -> None:
    from torch import nn  # noqa: PLC0415

    from crossbatch.losses import PairLoss  # noqa: PLC0415  (imports torch)

    parser.add_subclass_arguments((PairLoss, nn.Module), "loss", as_group=False, metavar="NAME", help=told)
    parser.set_defaults({"loss": asdict(LossSettings())})


def options_of_others(parser: ArgumentParser) -> set[str]:
    """Options of other commands that train, and not of this one; a file may hold options of all of them."""
    options = {option for name in TRAIN for option in inspect.signature(command_named(name)).parameters}
    return options - NOT_OPTIONS - {action.dest for action in parser._actions}


def parse(name: str, given: Sequence[str] | Mapping[str, Any]) -> tuple[dict[str, Any], bool]:
    """The arguments to call a command with, and whether JSON is wanted.

    `given`: words of a command line, or options by name.
    """
    parser, parameters = parser_for(name), inspect.signature(command_named(name)).parameters
    parser.given_loss = given_loss(given)
    by_name = isinstance(given, Mapping)
    if not by_name and "" in given:
        raise SettingError("one of the words is empty: is a variable of the shell not set?")
    try:
        if isinstance(given, Mapping):
            parsed = by_names(parser, given)
        else:
            parsed = parser.parse_args(spelt(parser, as_paths(given)), defaults=False)
    except ArgumentError as error:
        raise SettingError(refusal(error, parser, () if by_name else tuple(given))) from error
    parsed.pop("config", None)
    refuse_unusable(parsed, parser)
    arguments = parsed.as_dict()
    as_json = bool(arguments.pop("json", False))
    if "settings" in parameters:
        names = [field.name for field in fields(Settings)]
        chosen = {name: arguments.pop(name) for name in names if name in arguments}
        arguments["settings"] = made(Settings, chosen)
        if "given" in parameters:
            named = parser.given_loss is not None or gives_file(given)
            arguments["given"] = chosen if named else chosen | {"loss": {}}
    for option, value in arguments.items():
        default = parameters[option].default
        if isinstance(value, dict) and is_dataclass(default):
            arguments[option] = made(type(default), vars(default) | value)
    return {option: as_plain(value) for option, value in arguments.items()}, as_json


def by_names(parser: ArgumentParser, given: Mapping[str, Any]) -> Namespace:
    """Parse options by name; they override those of the files that `config` and `recipe` name."""
    refuse_loss(given.get("loss", ""))
    names = [option.removeprefix("--") for option in FILES]
    files = [f"--{name}={given[name]}" for name in names if given.get(name) is not None]
    beneath = parser.parse_args(files, defaults=False) if files else None
    if beneath is not None:
        beneath.pop("config")
    own = with_class({name: value for name, value in given.items() if name not in names})
    _reach_loss(own)
    parsed: Namespace = parser.parse_object(own, beneath, defaults=False)
    return parsed


def given_loss(given: Sequence[str] | Mapping[str, Any]) -> str | None:
    """The loss that is given outside files, as it is written; None if none is named."""
    if isinstance(given, Mapping):
        loss = with_class(given).get("loss", {})
        return loss.get("class_path") if isinstance(loss, Mapping) else None
    named = None
    for word, after in zip(given, [*given[1:], ""], strict=False):
        name, equals, value = word.partition("=")
        if name in ("--loss", "--loss.class_path"):
            named = value if equals else after
    return named


def gives_file(given: Sequence[str] | Mapping[str, Any]) -> bool:
    """Whether a file of options is given, which may name a loss."""
    if isinstance(given, Mapping):
        return any(map(given.get, ("config", "recipe")))
    return any(word.partition("=")[0] in FILES for word in given)


def names_another(options: Mapping[str, Any], loss: str | None) -> bool:
    """Whether the options of a file name another loss than the given one."""
    in_file = options.get("loss")
    if loss is None or loss.startswith("{") or not isinstance(in_file, Mapping):
        return False
    return bool(in_file.get("class_path", LossSettings().class_path) != class_path(loss))


def spelt(parser: ArgumentParser, words: Sequence[str]) -> list[str]:
    """The words as jsonargparse reads them.

    Files come first, `--loss triplet` becomes a class path, and `--json` becomes `--json=true`. A list option that is
    repeated adds an item each time; its first item replaces the list of a file.
    """
    switches, lists = names_of(parser, bool), names_of(parser, list)
    words = [
        part
        for word in words
        for part in (word.split("=", 1) if word.startswith(tuple(f"{name}=" for name in OF_LOSS)) else [word])
    ]
    files: list[str] = []
    spelt_words: list[str] = []
    begun: list[str] = []
    for before, word, after in zip(["", *words], words, [*words[1:], ""], strict=False):
        name, equals, value = word.partition("=")
        if before in FILES or name in FILES:
            files.append(word)
        elif before in OF_LOSS and not word.startswith(("-", "{")):
            spelt_words.append(_reached(class_path(word)))
        elif before in switches and word.lower() in SWITCHED:
            spelt_words.append(SWITCHED[word.lower()])
        elif name in switches and (equals or after.lower() not in SWITCHED):
            spelt_words.append(f"{name}={SWITCHED.get(value.lower(), value) if equals else 'true'}")
        elif name in lists:
            begins = name not in begun and (value if equals else after).startswith("[")
            begun.append(name)
            spelt_words.append(f"{name}{'' if begins else '+'}{equals}{value}")
        else:
            spelt_words.append(word)
    emptied = [f"{name}=[]" for name in dict.fromkeys(begun)] if files else []
    return in_order(parser, [*files, *emptied, *spelt_words])


def _reached(path: str) -> str:
    """Return a class path of a loss after importing its module, so that jsonargparse can import it too."""
    if not path.startswith("crossbatch."):
        imported(path, "--loss")
    return path


def _reach_loss(options: Mapping[str, Any]) -> None:
    loss = options.get("loss")
    if isinstance(loss, Mapping) and isinstance(loss.get("class_path"), str):
        _reached(loss["class_path"])


def as_paths(words: Sequence[str]) -> list[str]:
    """The words without `--`; those after it are paths, and get `./` in front if they begin with a dash."""
    options = list(words).index("--") if "--" in words else len(words)
    return [*words[:options], *(f"./{word}" if word.startswith("-") else word for word in words[options + 1 :])]


def in_order(parser: ArgumentParser, words: Sequence[str]) -> list[str]:
    """Put positional words first if a command takes any number of them: argparse needs them together."""
    if all(action.nargs != "*" for action in parser._actions):
        return list(words)
    plain: list[str] = []
    named: list[str] = []
    for before, word in zip(["", *words], words, strict=False):
        is_value = before.startswith("--") and "=" not in before
        (named if word.startswith("-") or is_value else plain).append(word)
    return [*plain, *named]


def names_of(parser: ArgumentParser, kind: type) -> list[str]:
    """Names of the options whose type is `kind`, or includes it, as an optional one does."""
    hints = {action: getattr(action, "_typehint", None) for action in parser._actions}
    kinds = {action: [get_origin(part) or part for part in (hint, *get_args(hint))] for action, hint in hints.items()}
    return [
        name for action in kinds if kind in kinds[action] for name in action.option_strings if not name.endswith("+")
    ]


def _file(path: str) -> Path:
    """The file of `--config`; refuses what is no file and looks like the name of a recipe."""
    if Path(path).exists() or Path(path).name != path or Path(path).suffix:
        return Path(path)
    way_out = f"--recipe {path} takes the recipe" if path in recipes() else f"--recipe takes {', '.join(recipes())}"
    raise SettingError(f"there is no file of options {path}: {way_out}")


def recipes() -> list[str]:
    """Names of the built-in recipes."""
    return sorted(path.stem for path in RECIPES.glob("*.yaml"))


def recipe_path(name: str) -> Path:
    """The file of a built-in recipe."""
    if name not in recipes():
        raise SettingError(f"there is no recipe {name!r}: choose one of {', '.join(recipes())}")
    return RECIPES / f"{name}.yaml"
