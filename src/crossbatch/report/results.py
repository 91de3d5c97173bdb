"""The numbers and tables of a report, of a comparison or of one run."""

import statistics
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from crossbatch import runs
from crossbatch.errors import RunError

NONE = "–"
WITHOUT, LONGER, WITH = "without", "longer", "with"  # roles of arms, by which they are drawn


class Cell(NamedTuple):
    """A cell of a table; `spread` is shown smaller after the text, `mark` highlights the cell."""

    text: str
    spread: str = ""
    mark: bool = False


class Table(NamedTuple):
    """Heads, and rows whose first cell is the name of the row; `colours`: one entry per row, "" for none."""

    heads: list[str]
    rows: list[list[Cell]]
    colours: list[str]


class Tile(NamedTuple):
    """A number shown large at the top, and its description."""

    number: str
    text: str


def percent(value: float) -> str:
    """0.5717 → 57.17."""
    return f"{100 * value:.2f}"


def mean_and_spread(values: Sequence[float]) -> Cell:
    """Mean and sample standard deviation in percent; without the deviation for a single value."""
    return Cell(percent(statistics.mean(values)), f"± {percent(statistics.stdev(values))}" if len(values) > 1 else "")


def duration(seconds: float | None) -> str:
    """A time as text, in seconds, minutes or hours."""
    if seconds is None:
        return NONE
    return (
        f"{seconds:.0f} s"
        if seconds < 120
        else f"{seconds / 60:.1f} min"
        if seconds < 7200
        else f"{seconds / 3600:.1f} h"
    )


def comparison_tiles(comparison: dict[str, Any], names: dict[str, str], apart: str = "") -> list[Tile]:
    """Tiles for R@1 of both arms, the ratio of errors with its range over seeds, and the cost of a step.

    `apart`: the reason if the memory cannot have made a difference; then there is no ratio.
    """
    tiles = []
    tests = {arm["name"]: arm.get("test", {}).get("R@1") for arm in comparison["arms"]}
    before, after = tests.get(names.get("without", "")), tests.get(names.get("with", ""))
    if before and after:
        numbers = f"{100 * statistics.mean(before):.1f} → {100 * statistics.mean(after):.1f} %"
        tiles.append(Tile(numbers, "R@1 on the test classes, without → with memory"))
    ratios = {} if apart else comparison.get("error_ratio") or {}
    ratio = ratios.get(names.get("without", "")) or {}
    if ratio.get("of means") is not None:
        by_seed = [value for value in ratio.get("by seed") or [] if value is not None]
        spread = f"; seed by seed {min(by_seed):.3f} to {max(by_seed):.3f}" if len(by_seed) > 1 else ""
        tiles.append(Tile(f"{ratio['of means']:.3f} ×", f"errors with memory, as a multiple of those without{spread}"))
    longer = (ratios.get(names.get("longer", "")) or {}).get("of means")
    if longer is not None:
        tiles.append(Tile(f"{longer:.3f} ×", "the same ratio, where training without memory takes as long a time"))
    cost = comparison.get("step_cost") or {}
    if cost.get("ratio"):
        times = f": {1000 * cost['without']:.1f} → {1000 * cost['with']:.1f} ms" if "with" in cost else ""
        tiles.append(Tile(f"{cost['ratio']:.2f} ×", f"time of a step with memory, as a multiple of one without{times}"))
    return tiles


def comparison_table(comparison: dict[str, Any], colours: dict[str, str]) -> Table:
    """Metrics and costs, one row per arm."""
    metrics = list(dict.fromkeys(metric for arm in comparison["arms"] for metric in arm.get("test", {})))
    rows, before = [], comparison.get("before_training") or {}
    if any(before.values()):
        initial = [mean_and_spread(before[metric]) if before.get(metric) else Cell(NONE) for metric in metrics]
        rows.append([Cell("before training"), Cell(NONE), Cell("0"), *initial, Cell(NONE), Cell(NONE)])
    for arm in comparison["arms"]:
        measured = [
            mean_and_spread(arm["test"][metric]) if arm.get("test", {}).get(metric) else Cell(NONE)
            for metric in metrics
        ]
        settings = [Cell(plain(arm.get(key))) for key in ("lr", "steps")]
        costs = [Cell(plain(arm.get("memory_rows"))), Cell(duration(arm.get("training_seconds")))]
        rows.append([Cell(arm["name"]), *settings, *measured, *costs])
    heads = ["arm", "lr", "steps", *metrics, "memory rows", "training"]
    return Table(heads, rows, [colours.get(row[0].text, "") for row in rows])


def search_table(comparison: dict[str, Any], colours: dict[str, str]) -> Table | None:
    """Validation R@1 of every learning rate tried, with the chosen rates marked; None without a search."""
    search = comparison.get("search") or []
    if not search:
        return None
    rates = sorted({row["lr"] for row in search})
    tried = {(row["arm"], row["lr"]): row["validation R@1"] for row in search}
    chosen = {arm["name"]: arm.get("lr") for arm in comparison["arms"]}
    names = list(dict.fromkeys(row["arm"] for row in search))
    rows = [
        [Cell(name)]
        + [
            Cell(percent(tried[name, rate]), mark=chosen.get(name) == rate)
            if tried.get((name, rate)) is not None
            else Cell(NONE)
            for rate in rates
        ]
        for name in names
    ]
    return Table(["arm", *(f"lr {rate:g}" for rate in rates)], rows, [colours.get(name, "") for name in names])


def _validated(summary: dict[str, Any]) -> list[dict[str, Any]]:
    """Validation results of training: with the last weights, and with the best weights, which are kept."""
    last, best, step = (summary.get(name) for name in ("last_validation", "best_validation_R@1", "best_step"))
    if last and step is not None and step == summary.get("steps"):
        return [{**last, "part": f"validation, kept weights (step {step:,}, the last)"}]
    entries = [{**last, "part": "validation, last weights"}] if last else []
    if step is not None and best is not None:
        kept = {"part": f"validation, kept weights (step {step:,})", "R@1": best}
        entries.append(kept | {"MAP@R": summary.get("best_validation_MAP@R")})
    return entries


def evaluation_table(run: Path, summary: dict[str, Any]) -> Table | None:
    """Every evaluation of the kept model, after the validation results of training; None without any metric."""
    entries = runs.read_evaluations(run)
    start = (summary.get("before_training") or {}).get("validation R@1")
    validated = _validated(summary)
    if validated and start is not None and all(entry["part"] != "validation" for entry in entries):
        validated.insert(0, {"part": "validation, before training", "R@1": start})
    entries = [*validated, *entries]
    metrics = sorted({key for entry in entries for key in entry if runs.is_metric(key)}, key=_in_order)
    if not metrics:
        return None
    first = {entry["part"]: number for number, entry in reversed(list(enumerate(entries)))}
    entries = [
        row
        for number, entry in enumerate(entries)
        for row in (*(_before(entry) if first[entry["part"]] == number else []), entry)
    ]
    rows = [
        [Cell(entry["part"]), Cell(plain(entry.get("look")))]
        + [Cell(percent(entry[metric])) if entry.get(metric) is not None else Cell(NONE) for metric in metrics]
        + [Cell(plain(entry.get("queries")))]
        for entry in entries
    ]
    return Table(["part", "look", *metrics, "queries"], rows, [""] * len(rows))


def _before(entry: dict[str, Any]) -> list[dict[str, Any]]:
    """The result on the part of an entry before training, as a list of one entry; empty if unknown."""
    before = entry.get("before_training")
    return [{**before, "part": f"{entry['part']}, before training"}] if before else []


def floor_terms(summary: dict[str, Any]) -> list[tuple[str, str]]:
    """R@1 before and after training, on validation and training classes; effective dimensions; as terms and values."""
    before, after = summary.get("before_training") or {}, summary.get("after_training") or {}
    terms = []
    for name, text in (("validation R@1", "R@1 on validation classes"), ("training R@1", "R@1 on training classes")):
        if before.get(name) is not None and after.get(name) is not None:
            terms.append((text, f"{percent(before[name])} % before training, {percent(after[name])} % after"))
    if after.get("effective dimensions") is not None:
        used = f"{after['effective dimensions']:.1f} of {summary.get('dim')}"
        terms.append(("effective dimensions", f"{used}; (Σλ)² ÷ Σλ² of the covariance of the embeddings"))
    return terms


def _in_order(metric: str) -> tuple[int, str]:
    """Sort key of metrics: Recall@K by K, then the others by name."""
    return (int(metric.removeprefix("R@")), "") if metric.startswith("R@") else (sys.maxsize, metric)


def read_comparison(folder: Path) -> dict[str, Any]:
    """Read the comparison of a folder; `RunError` if it has no arms."""
    comparison: dict[str, Any] = runs.read_json(folder / runs.COMPARISON)
    arms = comparison.get("arms") if isinstance(comparison, dict) else None
    if not isinstance(arms, list) or not arms or not all(isinstance(arm, dict) and "name" in arm for arm in arms):
        raise RunError(f"{folder / runs.COMPARISON} names no arms: run the comparison again")
    return comparison


def roles_of(arms: Sequence[dict[str, Any]]) -> dict[str, str]:
    """The role of each arm, by name: WITH if it has memory rows; of the others, WITHOUT for the first, then LONGER."""
    roles: dict[str, str] = {}
    for arm in arms:
        taken = WITHOUT in roles.values()
        roles[arm["name"]] = WITH if arm.get("memory_rows") else LONGER if taken else WITHOUT
    return roles


def folders_of(folder: Path, arm: Mapping[str, Any]) -> list[Path]:
    """The run folders of an arm; a comparison from a stranger cannot name one elsewhere."""
    return [folder / Path(name).name for name in arm.get("runs", [])]


def plain(value: float | None) -> str:
    """A number as text, with commas if whole; a dash for None."""
    if value is None:
        return NONE
    return f"{value:,}" if isinstance(value, int) else f"{value:g}"
