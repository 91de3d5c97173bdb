"""Running one command of the command line, from its words to its exit status."""

import io
import os
import sys
from collections.abc import Sequence

from crossbatch.commands.option_help import help_for
from crossbatch.commands.options import command_named, parse, parser_for
from crossbatch.commands.output import console_for, print_json, while_read
from crossbatch.errors import TERMINATED, SettingError
from crossbatch.imported import imported_module
from crossbatch.launched import started, started_rank
from crossbatch.loss_names import CLASSES, RECOMMENDED

MODULES = "CROSSBATCH_IMPORT"  # environment variable: modules to import, such as one that registers a backbone


def run(name: str, words: Sequence[str]) -> int:
    """Parse, call, print; return the exit status: 0, or for a run that was stopped early, 143 by SIGTERM, else 1."""
    help_words = {"-h", "--help", "--help-all"} & set(words)
    if help_words:
        with while_read():
            print(help_for(name, parser_for(name, shown=True), every="--help-all" in help_words), end="")
        return 0
    _import_own()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # file names need not be UTF-8
    with while_read():
        try:
            options, as_json = parse(name, words)
        except SystemExit:  # jsonargparse has printed a help text, such as that of --loss.help
            _tell_recommended(words)
            return 0
    if name != "train" and started() > 1:
        raise SettingError(
            f"crossbatch {name} runs in one process, and {started()} were started: leave torchrun or srun out"
        )
    result = command_named(name)(**options, console=console_for(as_json))
    if as_json and started_rank() == 0:
        print_json(result)
    ended_by = result.get("ended_by") if isinstance(result, dict) else None
    return {None: 0, "SIGTERM": TERMINATED}.get(ended_by, 1)


def _tell_recommended(words: Sequence[str]) -> None:
    """Print, after the help of a loss, the recommended values that commands use in place of its class's defaults."""
    parts = {part for word in words for part in word.split("=")}
    for name, options in RECOMMENDED.items():
        if {name, CLASSES[name]} & parts:
            recommended = ", ".join(f"--loss.{option} {value}" for option, value in options.items())
            print(f"A command starts from {recommended}; with --recommended false, from the defaults above.")


def _import_own() -> None:
    """Import the modules that the environment variable CROSSBATCH_IMPORT names."""
    for module in filter(None, os.environ.get(MODULES, "").split(",")):
        imported_module(module, MODULES)
