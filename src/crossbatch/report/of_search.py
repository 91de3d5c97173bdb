"""The page about a search of `crossbatch tune`: the recipes tried, and the commands to go on with."""

from pathlib import Path
from typing import Any

from crossbatch import runs
from crossbatch.data import called
from crossbatch.errors import CrossBatchError, RunError
from crossbatch.report.results import WITH, WITHOUT, Cell, Table, Tile, duration, percent, plain
from crossbatch.typed import typed

VALIDATED = "validation R@1"
NOTE = (
    "R@1 in % on the validation classes, which chose the settings, so it is optimistic. Marked: the best of each arm. "
    "A recipe that ranks low ends after a ninth or a third of the steps."
)


def fields_of(folder: Path) -> dict[str, Any]:
    """What the page shows of a search, by fields of `Page`; `RunError` if its file names no arms."""
    result = runs.read_json(folder / runs.TUNING)
    try:
        return _fields(folder, result)
    except CrossBatchError:
        raise
    except (KeyError, TypeError, IndexError, AttributeError, ValueError, StopIteration) as error:
        raise RunError(f"{folder / runs.TUNING} is damaged: run the search again, it goes on") from error


def _fields(folder: Path, result: dict[str, Any]) -> dict[str, Any]:
    arms, part = result["arms"], result["validation"]
    config = runs.read_options(folder / runs.BEST_RECIPE)
    tried = " and ".join(f"{len(arm['recipes'])} {arm['name']}" for arm in arms)
    best = typed(folder / runs.BEST_RECIPE)
    steps = sum(arm["steps"] for arm in arms)
    return {
        "title": f"{called(result['data'], config.get('root'))}: a search for settings",
        "sentence": f"Best on validation: {_recipe(_winner(arms, result['winner']['arm']))}.",
        "subtitle": f"{tried} tried · {steps:,} steps, {duration(sum(arm['seconds'] for arm in arms))} of training",
        "tiles": [
            Tile(f"{percent(arm['recipes'][0][VALIDATED])} %", f"R@1 on the validation classes, best {arm['name']}")
            for arm in arms
        ],
        "table": _table(arms),
        "table_note": NOTE,
        "commands": [
            ("Train the best recipe", f"crossbatch train --config {best} --out {typed(folder / 'best')}"),
            ("Measure what the memory adds, each arm with its own best", f"crossbatch compare --config {best}"),
        ],
        "warnings": [text for arm in arms for text in arm["recipes"][0].get("warnings") or []],
        "settings": [
            ("validation", f"{part['images']:,} images of {part['classes']:,} classes"),
            ("fingerprint of the data", str(result["fingerprint"])),
        ],
    }


def _winner(arms: list[dict[str, Any]], name: str) -> dict[str, Any]:
    return next(arm for arm in arms if arm["name"] == name)


def _recipe(arm: dict[str, Any]) -> str:
    """The best recipe of an arm, in words."""
    best = arm["recipes"][0]
    room = f", room {best['room']:g}" if "room" in best else ""
    return f"{best['loss']}{room}, augmentation {best['augmentation']}, learning rate {best['lr']:.2g}, {arm['name']}"


def _table(arms: list[dict[str, Any]]) -> Table:
    rows, colours = [], []
    for arm in arms:
        for place, recipe in enumerate(arm["recipes"]):
            room = f"{recipe['room']:g}" if "room" in recipe else ""
            about = [arm["name"], recipe["loss"], room, recipe["augmentation"], f"{recipe['lr']:.2g}"]
            score = Cell(percent(recipe[VALIDATED]), mark=place == 0)
            rows.append([*map(Cell, about), Cell(plain(recipe["steps"])), score])
            colours.append(f"{WITHOUT if arm['name'].startswith(WITHOUT) else WITH} solid")
    return Table(["arm", "loss", "room", "augmentation", "lr", "steps", "R@1"], rows, colours)
