"""`crossbatch tune`: search for the best recipe on validation classes, within a budget."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jsonargparse.typing import PositiveFloat, PositiveInt
from rich.console import Console

from crossbatch.commands.output import continuable, print_table
from crossbatch.data import called
from crossbatch.data.augment import Policy
from crossbatch.errors import SettingError
from crossbatch.training.comparable import WITH
from crossbatch.training.option_names import class_path
from crossbatch.training.settings import LossSettings, Settings
from crossbatch.typed import typed

SHOWN = 8  # most recipes of each arm in the table; the JSON has all
TIMES = 20  # default budget of a search, in whole runs


def tune(
    settings: Settings,
    out: Path | None = None,
    budget: PositiveInt | None = None,
    minutes: PositiveFloat | None = None,
    losses: list[str] = ["sup-con", "multi-similarity", "binomial-deviance", "contrastive"],  # noqa: B006
    policies: list[Policy] = ["auto", "drawn", "none", "paper"],  # noqa: B006  (the parser shows it, never changes it)
    rooms: list[float] = [0.7, 1.0],  # noqa: B006
    learning_rates: list[float] | None = None,
    *,
    console: Console,
) -> dict[str, Any]:
    """Search for loss, room, augmentation and learning rate on validation classes, alike without and with memory.

    Many recipes train for a ninth of the steps, the best third of them again for a third, the best third of those for
    all. No test class is searched. A search that was stopped continues when started again; so does one whose budget is
    raised. The best recipe is kept in OUT/best.yaml, for `crossbatch train --config` and `crossbatch compare --config`.

    Args:
        settings: All options of a training run; those that are searched need not be given.
        out: Folder to make or to continue; by default runs/tune-ROOT.
        budget: Training steps of all runs together, half of them for each arm; by default 20 times --optim.steps.
        minutes: Minutes of training, in place of --budget.
        losses: Losses to try, as [triplet,nca]; options of --loss apply to the loss that it names.
        policies: Policies of augmentation to try, as [drawn,photo].
        rooms: Values of room to try, where the loss has a recommended one and none is given; 1 is the paper's.
        learning_rates: The lowest and the highest learning rate; by default [0.0001,0.01], and a tenth of these where
            the network starts from trained weights.
    """
    if learning_rates is None:
        learning_rates = [1e-5, 1e-3] if settings.model.trained else [1e-4, 1e-2]
    if budget is not None and minutes is not None:
        raise SettingError("--budget and --minutes both say how long to search: give one of them")
    if not losses or not policies or not rooms or len(learning_rates) != 2:
        raise SettingError(
            "a search needs a loss, a policy, a room, and the lowest and the highest learning rate: got "
            f"{losses}, {policies}, {rooms} and {learning_rates}"
        )
    if joined := next((name for name in losses if "," in name and not name.startswith("[")), None):
        raise SettingError(f"--losses takes a name, once each or as [a,b], got {joined}: write [{joined}]")
    settings.check()
    from crossbatch.training import halving, tuning  # noqa: PLC0415  (imports Lightning)

    names = tuple(dict.fromkeys(LossSettings(class_path(name)).name for name in losses))
    low, high = map(halving.rounded, learning_rates)  # rounded as the rates tried are, so that none lies outside
    space = halving.Space(names, tuple(dict.fromkeys(policies)), (low, high), tuple(dict.fromkeys(rooms)))
    allowed = halving.Budget(int(budget or TIMES * settings.optim.steps), minutes)
    tuning.check(settings, space, allowed)
    console.print(_plan(settings, allowed))
    folder = out or Path("runs", f"tune-{settings.name}")
    with continuable():
        result = tuning.tune(settings, folder, console, space, allowed)
    best = typed(result["best"])
    result["command"] = f"crossbatch train --config {best} --out {typed(folder / 'best')}"
    show(console, result, called(result["data"], settings.root))
    return result


def _warnings(arms: Sequence[dict[str, Any]]) -> list[str]:
    """Warnings of the best run of each arm, and a warning if the memory never counted in some recipes."""
    warnings = [
        f"warning: best {arm['name']}: {warning}"
        for arm in arms
        for recipe in arm["recipes"][:1]
        for warning in recipe["warnings"] or []
    ]
    recipes = [recipe for arm in arms if arm["name"] == WITH for recipe in arm["recipes"]]
    never = sum(recipe["memory_steps"] == 0 for recipe in recipes)
    if never:
        count = f"the memory never counted in {never} of {len(recipes)} recipes with memory"
        warnings.append(f"warning: {count}, which trained as without it; train for longer, or give --memory.start")
    return warnings


def _plan(settings: Settings, budget: Any) -> str:
    amount = f"{budget.steps:,} steps" if budget.minutes is None else f"{budget.minutes:g} minutes of training"
    return f"search    {amount}, half without memory and half with it; a whole run is {settings.optim.steps:,} steps"


def show(console: Console, result: dict[str, Any], name: str) -> None:
    """Print the table of a search and the commands to go on with; `name`: the data set, for the title."""
    rows = [
        [
            arm["name"],
            f"{recipe['loss']}, room {recipe['room']:g}" if "room" in recipe else recipe["loss"],
            recipe["augmentation"],
            f"{recipe['lr']:.2g}",
            f"{recipe['steps']:,}",
            f"{recipe['validation R@1']:.4f}",
        ]
        for arm in result["arms"]
        for recipe in arm["recipes"][:SHOWN]
    ]
    part, tried = result["validation"], " and ".join(f"{len(arm['recipes'])} {arm['name']}" for arm in result["arms"])
    title = (
        f"{name} ({result['fingerprint']}), validation: {part['images']:,} images of {part['classes']:,} "
        f"classes; recipes tried: {tried}"
    )
    print_table(console, title, ["arm", "loss", "augmentation", "lr", "steps", "validation R@1"], rows)
    winner, best = result["winner"], result["best"]
    scores = {recipe["validation R@1"] for arm in result["arms"] for recipe in arm["recipes"]}
    same = "note: all recipes are alike on validation, so it chose none: more validation classes may tell them apart"
    lines = [
        *_warnings(result["arms"]),
        *([same] if len(scores) == 1 and any(len(arm["recipes"]) > 1 for arm in result["arms"]) else []),
        f"best: {winner['arm']}, R@1 {winner['validation R@1']:.4f} on validation, which chose it; kept in {best}",
        f"train it: {result['command']}",
        f"measure what the memory adds, each arm with its own best recipe: crossbatch compare --config {typed(best)}",
    ]
    for line in lines:
        console.print(line)
