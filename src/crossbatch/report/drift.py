"""The drift of a run, from drift.csv: tables, a figure, and a sentence on what it means for the memory."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from crossbatch import runs
from crossbatch.errors import RunError
from crossbatch.metrics.drift import age_at
from crossbatch.report.plots import Line, Panel, Series, draw_figure

LATE = 0.75  # share of the run after which measurements count as late; these describe a memory in use
SHOWN_STEPS, SHOWN_INTERVALS = 6, (10, 100, 1000)


class Measured(NamedTuple):
    """One row of drift.csv."""

    step: int
    first: int
    last: int
    age: float
    pairs: int
    distance: float


class BinOfAges(NamedTuple):
    """Mean squared distances in a bin of ages, late in the run; None for a meter without measurements there.

    `carried`: the sample's distance that remains when the sample is carried along like rows of the memory.
    """

    first: int
    last: int
    sample: float | None
    carried: float | None
    returning: float | None


class Drift(NamedTuple):
    """The drift of a run."""

    by_step: dict[int, Series]  # meter "sample": distance by step, for each measured age in SHOWN_INTERVALS
    by_age: list[BinOfAges]
    sample: Series  # late in the run: mean distance by mean age; so are the next two
    carried: Series
    returning: Series
    augmentation: float
    class_spread: float
    sentence: str


def read_drift(run: Path, threshold: float) -> Drift:
    """Read and summarise drift.csv; `threshold`: squared distance above which a row counts as moved."""
    if not (run / runs.DRIFT).is_file():
        if (run / runs.COMPARISON).is_file():
            raise RunError(f"{run} is a comparison: name one of the runs in it")
        problem = f"{run} holds no {runs.DRIFT}: drift is measured every 100 steps of a run"
        raise RunError(f"{problem}; train for longer, with --drift.sample above 0")
    meters = _read(run / runs.DRIFT)
    sample, returning = meters.get("sample", []), meters.get("returning", [])
    late = LATE * max(row.step for row in sample)
    augmentation = _mean([row for row in meters["augmentation"] if row.step >= late])
    carried = meters.get("carried", [])
    sample_late, carried_late, returning_late = (
        [row for row in rows if row.step >= late] for rows in (sample, carried, returning)
    )
    sample_curve, carried_curve = _curve(sample_late), _curve(carried_late)
    return Drift(
        by_step={
            age: series
            for age in SHOWN_INTERVALS
            if (series := [(row.step, row.distance) for row in sample if row.first == age])
        },
        by_age=_by_age(sample_late, carried_late, returning_late),
        sample=sample_curve,
        carried=carried_curve,
        returning=_curve(returning_late),
        augmentation=augmentation,
        class_spread=_mean([row for row in meters["class spread"] if row.step >= late]),
        sentence=_sentence(run, carried_curve or sample_curve, threshold),
    )


def steps_shown(drift: Drift) -> list[int]:
    """About `SHOWN_STEPS` of the measured steps, evenly spaced, with the last."""
    steps = [step for step, _ in next(iter(drift.by_step.values()))]
    every = max(1, len(steps) // SHOWN_STEPS)
    return steps[::-1][::every][::-1]


def figure(drift: Drift) -> str:
    """An SVG file of two charts: drift by step, as in figure 3 of the paper, and drift late in the run by age."""
    strokes = dict(zip(SHOWN_INTERVALS, ("dotted", "dashed", "solid"), strict=True))
    over_steps = [
        Line(f"over {age:,} steps", "with", strokes[age], [series])  # type: ignore[arg-type]
        for age, series in drift.by_step.items()
    ]
    net = [(age, distance - drift.augmentation) for age, distance in drift.returning]
    ages = [age for age, _ in (*drift.sample, *drift.returning)]
    spread = [(age, drift.class_spread) for age in (min(ages), max(ages))]
    over_ages = [
        Line("of the sample", "with", "solid", [drift.sample]),
        Line("of the sample, carried along as rows are", "with", "dashed", [drift.carried]),
        Line("of returning images", "without", "solid", [drift.returning]),
        Line("… less augmentation", "without", "dashed", [[point for point in net if point[1] > 0]]),
        Line("between images of a class", "without", "dotted", [spread]),
    ]
    drawn = [line for line in over_ages if line.seeds[0]]
    return draw_figure(
        "drift",
        [
            Panel("squared distance moved", "step", over_steps),
            Panel("squared distance moved, late in the run", "age, steps", drawn),
        ],
    )


def _read(path: Path) -> dict[str, list[Measured]]:
    meters: dict[str, list[Measured]] = {}
    try:
        for row in runs.read_table(path):
            step, first, last, pairs = (int(row[name]) for name in ("step", "first", "last", "pairs"))
            age, distance = float(row["age"]), float(row["distance"])
            meters.setdefault(row["meter"], []).append(Measured(step, first, last, age, pairs, distance))
    except (KeyError, TypeError, ValueError) as error:
        raise RunError(f"{path} cannot be read ({error})") from error
    if missing := {"sample", "augmentation", "class spread"} - meters.keys():
        raise RunError(f"{path} has no rows of {', '.join(sorted(missing))}: let the run go on for 100 steps")
    return meters


def _mean(rows: Sequence[Measured]) -> float:
    return sum(row.distance * row.pairs for row in rows) / sum(row.pairs for row in rows)


def _curve(rows: Sequence[Measured]) -> Series:
    """Mean age and mean distance of each interval or bin, by ascending age."""
    of_bin: dict[int, list[Measured]] = {}
    for row in rows:
        of_bin.setdefault(row.first, []).append(row)
    return [
        (
            round(sum(row.age * row.pairs for row in of_bin[first]) / sum(row.pairs for row in of_bin[first])),
            _mean(of_bin[first]),
        )
        for first in sorted(of_bin)
    ]


def _by_age(*meters: Sequence[Measured]) -> list[BinOfAges]:
    """Mean distances by age of the meters sample, carried and returning, in this order.

    An interval of the sample goes into the bin of returning images that contains it, or gets a bin of its own.
    """
    bins = sorted({(row.first, row.last) for row in meters[-1]})
    table: dict[tuple[int, int], list[list[Measured]]] = {}
    for number, meter in enumerate(meters):
        for row in meter:
            home = next((ages for ages in bins if ages[0] <= row.first <= ages[1]), (row.first, row.last))
            table.setdefault(home, [[] for _ in meters])[number].append(row)
    return [
        BinOfAges(first, last, *(_mean(rows) if rows else None for rows in by_meter))
        for (first, last), by_meter in sorted(table.items())
    ]


def _sentence(run: Path, curve: Series, threshold: float) -> str:
    """The age at which rows have moved by more than `threshold`, beside the span of the memory in steps."""
    config = runs.read_config(run)
    batch = config["batch"]["classes"] * config["batch"]["images"]
    rows = runs.read_summary(run)["memory_rows"] if (run / runs.SUMMARY).is_file() else 0
    span = f"; the {rows:,} rows of the memory span {rows // batch:,} steps" if rows else ""
    oldest, farthest = curve[-1]
    crossing = age_at(curve, threshold)
    if math.isinf(crossing):
        return f"rows of {oldest:,} steps, the oldest measured, differ by {farthest:.3f}, less than {threshold:g}{span}"
    return f"rows older than {int(crossing):,} steps differ by more than {threshold:g}{span}"
