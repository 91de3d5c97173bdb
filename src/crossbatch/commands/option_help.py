"""The help of a command: a screen of what most runs need, or every option."""

from argparse import SUPPRESS, Action, HelpFormatter
from collections.abc import Collection
from typing import Any, get_args

from jsonargparse import ArgumentParser

from crossbatch.loss_names import CLASSES

ESSENTIAL = (
    "root",
    "out",
    "data",
    "loss",
    "model.backbone",
    "model.weights",
    "model.image_size",
    "batch.classes",
    "batch.images",
    "memory.size",
    "augment.policy",
    "optim.steps",
    "optim.lr",
    "seed",
    "seeds",
    "learning_rates",
    "budget",
    "minutes",
    "losses",
    "policies",
    "refit",
    "resume",
    "init",
    "config",
    "json",
)
SEARCHED = (
    "loss",
    "augment.policy",
    "optim.lr",
    "memory.size",
    "refit",
)  # by tune, which has options for what it tries
COLUMNS = 100
WHOLE_GROUP = "Path to a configuration file."  # of jsonargparse, for all options of a group at once: --config has them


class Screen(HelpFormatter):
    """Names as short as they go, and the default behind each sentence."""

    def _format_action_invocation(self, action: Action) -> str:
        if not action.option_strings:
            return action.dest.upper()
        hint = getattr(action, "_typehint", None)
        flag = bool in (hint, *get_args(hint))
        value = "" if flag else f" {action.dest.rpartition('.')[2].upper()}"
        return ", ".join(f"{name}{value}" for name in action.option_strings if not name.endswith("+"))

    def _get_help_string(self, action: Action) -> str:
        default = getattr(action.default, "class_path", action.default)
        if action.dest == "loss":
            default = next((name for name, one in CLASSES.items() if one == default.rpartition(".")[2]), default)
        told = "" if default in (None, SUPPRESS, False, "", []) else f" (default: {default})"
        return f"{action.help}{told}".replace("%", "%%")


def help_for(name: str, parser: ArgumentParser, *, every: bool) -> str:
    """The text: the essential options of a command with many, or every option."""
    actions = {one.dest: one for one in parser._actions if one.help not in (SUPPRESS, WHOLE_GROUP)}
    positional = "".join(f" {_shown(one)}" for one in actions.values() if not one.option_strings)
    shown = actions if every else {one: actions[one] for one in _first(actions) if one in actions}
    screen = Screen(f"crossbatch {name}", max_help_position=27, width=COLUMNS)
    screen.add_usage(f"crossbatch {name}{positional} [options]", [], [], prefix="usage: ")
    screen.add_text(parser.description)
    screen.start_section("options")
    screen.add_arguments(sorted(shown.values(), key=lambda one: bool(one.option_strings)))  # words without a name first
    screen.end_section()
    if len(shown) < len(actions):
        screen.add_text(f"Every option: crossbatch {name} --help-all. All of them also in a YAML file: --config.")
    return screen.format_help()


def _first(names: Collection[str]) -> Collection[str]:
    """The options of the short help: of a command that trains the essential ones, else all but details."""
    if "optim.steps" in names:
        return [name for name in ESSENTIAL if "losses" not in names or name not in SEARCHED]
    return [name for name in names if name == "augment.policy" or not name.startswith("augment.")]


def _shown(action: Any) -> str:
    name: str = action.dest.upper()
    return {"?": f"[{name}]", "*": f"[{name} …]"}.get(action.nargs, name)
