"""The help of a command: a screen of the essential options, or every option."""

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
    "rooms",
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
)  # left out of the help of `tune`, which searches these by options of its own
COLUMNS = 100
WHOLE_GROUP = "Path to a configuration file."  # help of jsonargparse's options for whole groups, left out: use --config


class Screen(HelpFormatter):
    """Formats each option with a short placeholder, and with its default after its sentence."""

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
            default = next((name for name, kind in CLASSES.items() if kind == default.rpartition(".")[2]), default)
        suffix = "" if default in (None, SUPPRESS, False, "", []) else f" (default: {default})"
        return f"{action.help}{suffix}".replace("%", "%%")


def help_for(name: str, parser: ArgumentParser, *, every: bool) -> str:
    """The text of the help: the essential options, or with `every` all options."""
    actions = {action.dest: action for action in parser._actions if action.help not in (SUPPRESS, WHOLE_GROUP)}
    positional = "".join(f" {_shown(action)}" for action in actions.values() if not action.option_strings)
    shown = actions if every else {name: actions[name] for name in _first(actions) if name in actions}
    screen = Screen(f"crossbatch {name}", max_help_position=27, width=COLUMNS)
    screen.add_usage(f"crossbatch {name}{positional} [options]", [], [], prefix="usage: ")
    screen.add_text(parser.description)
    screen.start_section("options")
    screen.add_arguments(sorted(shown.values(), key=lambda one: bool(one.option_strings)))  # positional ones first
    screen.end_section()
    if len(shown) < len(actions):
        screen.add_text(f"Every option: crossbatch {name} --help-all. All of them also in a YAML file: --config.")
    return screen.format_help()


def _first(names: Collection[str]) -> Collection[str]:
    """The options of the short help: `ESSENTIAL` for a command that trains, else all but details of augmentation."""
    if "optim.steps" in names:
        return [name for name in ESSENTIAL if "losses" not in names or name not in SEARCHED]
    return [name for name in names if name == "augment.policy" or not name.startswith("augment.")]


def _shown(action: Any) -> str:
    name: str = action.dest.upper()
    return {"?": f"[{name}]", "*": f"[{name} …]"}.get(action.nargs, name)
