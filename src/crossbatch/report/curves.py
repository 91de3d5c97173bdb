"""The charts of a report: logged values of each arm, as lines over the steps."""

import math
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

from crossbatch import runs
from crossbatch.errors import RunError
from crossbatch.report.plots import Colour, Line, Series, Stroke, draw, mean

POINTS = 150  # most points of a line: a chart about 450 pixels wide shows no more
FEWEST = 3  # points of a line, without which a chart says little
SEEN = 200  # two lines less than 1/SEEN of the chart's height apart look like one
Metrics = dict[str, Series]


class Arm(NamedTuple):
    """One arm: its name, its colour and stroke, its run folders, and the metrics that each run logged."""

    name: str
    colour: Colour
    stroke: Stroke
    folders: list[Path]
    logged: list[Metrics]


class Chart(NamedTuple):
    """A chart: heading, caption, the lines for its legend, and the SVG element."""

    heading: str
    caption: str
    lines: list[Line]
    svg: str


def read_arm(name: str, colour: Colour, stroke: Stroke, folders: list[Path]) -> Arm:
    """An arm with the metrics of its runs; a run whose folder is gone has none."""
    return Arm(name, colour, stroke, folders, [_read(folder) for folder in folders])


def charts(arms: Sequence[Arm]) -> list[Chart]:
    """Every chart that has something to show: a line of three points or more."""
    return [
        chart
        for make in (_validation, _loss, _hard_negatives, _learning_rate, _drift, _rows, _age)
        if (chart := make(arms))
    ]


def too_short(arms: Sequence[Arm]) -> str:
    """A sentence in place of the charts, where values were logged and are too few for a chart."""
    logged = any(run for arm in arms for run in arm.logged)
    return f"Training was too short for charts: no value was logged {FEWEST} times." if logged else ""


def _validation(arms: Sequence[Arm]) -> Chart | None:
    lines = [_line(arm, arm.name, "val/R@1", scale=100) for arm in arms]
    caption = "Each validation image is searched among the others."
    return _chart("R@1 on the validation classes, %", caption, lines, thinned=False, most=100)


def _loss(arms: Sequence[Arm]) -> Chart | None:
    lines = [_line(arm, arm.name, "batch_loss", "loss") for arm in arms]
    memory = [_line(arm, "memory term", "memory_loss")._replace(stroke="dotted") for arm in arms]
    caption = "The loss within the batch" + (": the same formula for every arm." if len(arms) > 1 else ".")
    if any(line.seeds for line in memory):
        caption += " Dotted: the term that compares the batch with the memory."
    return _chart("Loss", caption, lines + memory)


def _hard_negatives(arms: Sequence[Arm]) -> Chart | None:
    shown = [arm for arm in arms if arm.stroke == "solid"]
    batch = [
        _line(arm, f"in the batch, {arm.name}", "batch_negatives")._replace(
            stroke="dotted" if _remembers(arm) else "solid"
        )
        for arm in shown
    ]
    memory = [_line(arm, "in the memory", "memory_negatives") for arm in shown]
    caption = "Mean number of negatives that the loss still acts on, for each image of the batch; logarithmic."
    return _chart("Hard negatives per anchor", caption, batch + memory, logarithmic=True)


def _learning_rate(arms: Sequence[Arm]) -> Chart | None:
    lines = [_line(arm, arm.name, "lr") for arm in arms]
    lines = [line._replace(seeds=line.seeds[:1]) for line in lines]
    alike = "; every seed has the same." if any(len(arm.folders) > 1 for arm in arms) else "."
    return _chart("Learning rate", f"As the optimizer used it{alike}", lines, from_zero=True)


def _drift(arms: Sequence[Arm]) -> Chart | None:
    strokes: list[tuple[int, Stroke]] = [(10, "dotted"), (100, "dashed"), (1000, "solid")]
    lines = [
        _line(arm, f"over {age:,} steps, {arm.name}", f"drift/{age}")._replace(stroke=stroke)
        for arm in arms
        if arm.stroke == "solid"
        for age, stroke in strokes
    ]
    carried = [_line(arm, f"… carried along, {arm.name}", "drift/carried/100") for arm in arms if arm.stroke == "solid"]
    lines += [line._replace(colour="without", stroke="dashed") for line in carried]
    caption = "Mean squared distance between the embeddings of an image now and so many steps ago; logarithmic."
    if any(line.seeds for line in carried):
        caption += " Carried along: what is left over 100 steps where rows follow the network."
    return _chart("Drift", caption, lines, logarithmic=True)


def _rows(arms: Sequence[Arm]) -> Chart | None:
    lines = [_line(arm, arm.name, "memory_rows") for arm in arms]
    if len({value for line in lines for series in line.seeds for _, value in series}) == 1:
        return None  # full from the first log on; the settings tell its size
    return _chart("Rows in the memory", "Embeddings held, each of an image seen earlier.", lines, from_zero=True)


def _age(arms: Sequence[Arm]) -> Chart | None:
    lines = [_line(arm, arm.name, "memory_age") for arm in arms]
    caption = "How many steps ago a row was written. It settles at half the steps that a full memory spans."
    return _chart("Mean age of the rows, steps", caption, lines, from_zero=True)


def _chart(
    heading: str,
    caption: str,
    lines: Sequence[Line],
    *,
    thinned: bool = True,
    logarithmic: bool = False,
    from_zero: bool = False,
    most: float | None = None,
) -> Chart | None:
    """A chart of the lines that have points, None if all have few; `thinned` averages neighbours in long logs."""
    present = [line for line in lines if line.seeds]
    if max((len(series) for line in present for series in line.seeds), default=0) < FEWEST:
        return None
    group = max(math.ceil(len(series) / POINTS) for line in present for series in line.seeds)
    if thinned and group > 1:
        caption += f" Each point is the mean of {group} logged steps."
        present = [line._replace(seeds=[_thin(series, group) for series in line.seeds]) for line in present]
    caption += "".join(f" “{one}” and “{other}” coincide." for one, other in _hidden(present, logarithmic))
    drawn = draw(heading, present, logarithmic=logarithmic, from_zero=from_zero, most=most)
    return Chart(heading, caption, present, drawn)


def _hidden(lines: Sequence[Line], logarithmic: bool) -> list[tuple[str, str]]:
    """Pairs of labels of lines that coincide: the first lies under the second and cannot be seen."""
    height = math.log if logarithmic else float
    drawn = [
        {step: height(value) for step, value in mean(line.seeds) if value > 0 or not logarithmic} for line in lines
    ]
    values = [value for curve in drawn for value in curve.values()]
    near = (max(values) - min(values)) / SEEN if values else 0
    return [
        (lines[below].label, lines[above].label)
        for (below, one), (above, other) in combinations(enumerate(drawn), 2)
        if one and one.keys() == other.keys() and all(abs(one[step] - other[step]) <= near for step in one)
    ]


def _line(arm: Arm, label: str, *names: str, scale: float = 1) -> Line:
    """A line with one series per run: the first metric of `names` that the run logged, none if it logged none."""
    logged = [next((run[name] for name in names if run.get(name)), None) for run in arm.logged]
    seeds = [[(step + 1, value * scale) for step, value in series] for series in logged if series]
    return Line(label, arm.colour, arm.stroke, seeds)


def _thin(series: Series, group: int) -> Series:
    """Means of every `group` consecutive points, each at the last step of its group."""
    parts = [series[i : i + group] for i in range(0, len(series), group)]
    return [(part[-1][0], sum(value for _, value in part) / len(part)) for part in parts]


def _remembers(arm: Arm) -> bool:
    return any("memory_negatives" in run for run in arm.logged)


def _read(folder: Path) -> Metrics:
    try:
        return runs.read_metrics(folder)
    except (TypeError, ValueError, KeyError) as error:
        raise RunError(f"the logs in {folder / runs.LOGS} cannot be read ({error}): remove the damaged file") from error
