"""Write the generated pages of the site: every command with its options, and every recipe.

python scripts/reference.py docs/reference
"""

import sys
from argparse import SUPPRESS, Action
from collections.abc import Iterable, Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import yaml

from crossbatch.commands import COMMANDS
from crossbatch.commands.option_help import _shown
from crossbatch.commands.options import RECIPES, parser_for, recipes
from crossbatch.commands.refusals import _fits
from crossbatch.training.settings import Settings

SHARED = {one.name for one in fields(Settings)}
GROUPS = {
    "": "Data, loss and seed",
    "split": "How classes are divided",
    "augment": "How training images are changed",
    "batch": "The batch",
    "memory": "The memory",
    "model": "The network",
    "optim": "The optimizer",
    "loop": "How the run goes about it",
    "drift": "Drift",
}
HELP = {"loss.help": "Print the options of a loss and end: `--loss.help TripletLoss`."}
STATUSES = """\
Every command ends with one of these statuses:

| status | meaning |
|---|---|
| 0 | it is done |
| 1 | the run failed, or a person stopped it; the last checkpoint is kept |
| 2 | bad input: one sentence on standard error names what was given, what fits and the way out |
| 143 | ended by SIGTERM, as clusters send it; the last checkpoint is kept |

`--json` prints the result as JSON on standard output, and nothing else there. `crossbatch COMMAND --help` shows what
matters first, `--help-all` everything. A switch is given alone (`--refit`) or with a value (`--memory.follow false`).
A list is given as `[a,b]`, or one value at a time."""


def main(folder: Path) -> None:
    """Write commands.md and recipes.md."""
    for name, lines in {"commands": commands(), "recipes": told_recipes()}.items():
        (folder / f"{name}.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


def commands() -> Iterator[str]:
    """One section for each command, and one for the options that the training commands share."""
    yield from ("# Commands", "", "This page is made from the command-line parsers: it lists what they accept.", "")
    yield from ("| command | |", "|---|---|")
    yield from (f"| [`crossbatch {name}`](#crossbatch-{name}) | {told} |" for name, told in COMMANDS.items())
    yield from ("", STATUSES, "")
    shared: dict[str, Action] = {}
    for name in COMMANDS:
        parser = parser_for(name)
        trains = any(one.dest == "optim.steps" for one in parser._actions)
        own = {}
        for one in parser._actions:
            if one.help == SUPPRESS or one.dest == "print_config" or _is_file_of_a_group(one):
                continue
            is_shared = trains and one.dest.split(".")[0] in SHARED - {"root"} and one.dest != "loss.help"
            (shared if is_shared else own).setdefault(one.dest, one)
        positional = [_shown(one) for one in own.values() if not one.option_strings]
        yield from (f"## crossbatch {name}", "", " ".join(str(parser.description).split()), "")
        usage = " ".join(["crossbatch", name, *positional, "[options]"])
        yield from ("```text", usage, "```", "")
        yield from _options(own.values())
        if trains:
            yield from ("All [options of a training run](#options-of-a-training-run) too.", "")
    yield from ("## Options of a training run", "")
    yield "`train`, `compare` and `tune` take these. Each can also be given in a YAML file (`--config FILE`):"
    yield from (
        "`--memory.size 0` is `memory: {size: 0}` there. The options of a loss are on [its page](losses.md).",
        "",
    )
    for group in dict.fromkeys([*GROUPS, *(one.partition(".")[0] for one in shared if "." in one)]):
        found = [one for one in shared.values() if (one.dest.partition(".")[0] if "." in one.dest else "") == group]
        yield from (f"### {GROUPS.get(group, group)}", "")
        yield from _options(found)


def _is_file_of_a_group(action: Action) -> bool:
    """Whether this is an option like `--memory FILE`, which jsonargparse adds for a group of options."""
    return action.help == "Path to a configuration file."


def _options(actions: Iterable[Action]) -> Iterator[str]:
    yield from ("| option | what it does | takes | default |", "|---|---|---|---|")
    for one in actions:
        names = [name for name in one.option_strings if not name.endswith("+")] or [one.dest.upper()]
        takes = _fits(getattr(one, "_typehint", None)) or ("a path" if not one.option_strings else "")
        cells = (", ".join(f"`{name}`" for name in names), HELP.get(one.dest, one.help), takes, _default(one))
        yield "| " + " | ".join(" ".join(str(cell).split()).replace("|", "\\|") for cell in cells) + " |"
    yield ""


def _default(action: Action) -> str:
    value: Any = getattr(action.default, "class_path", action.default)
    value = value.get("class_path") if isinstance(value, dict) else value
    if value in (None, SUPPRESS, "", []):
        return ""
    shown = str(value).lower() if isinstance(value, bool) else str(value)
    return f"`{shown}`"


def told_recipes() -> Iterator[str]:
    """The description of each recipe, from the comments in its file, and its options."""
    yield from ("# Recipes", "")
    yield "A recipe is a file of options that comes with the package: `crossbatch train ROOT --recipe sop-resnet50`."
    yield "Options on the command line override it: `--memory.size 0` turns a recipe's memory off. The recipes"
    yield "named after published data sets follow the paper, and their published numbers are **not reproduced here**:"
    yield from ("[why](../explanation/reproducibility.md#the-papers-numbers).", "")
    for name in recipes():
        text = (RECIPES / f"{name}.yaml").read_text(encoding="utf-8")
        told = [line.removeprefix("#").strip() for line in text.splitlines() if line.startswith("#")]
        yield from (f"## {name}", "", *told, "", "```yaml")
        yield from (yaml.safe_dump(yaml.safe_load(text), sort_keys=False, allow_unicode=True).rstrip(), "```", "")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
