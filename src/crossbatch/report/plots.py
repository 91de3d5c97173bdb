"""Line charts as SVG: inline in a page, in its colours, or as a file. matplotlib is imported here only."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import StringIO
from typing import Any, Literal, NamedTuple

from crossbatch.errors import MissingExtraError

Series = list[tuple[int, float]]  # (step, value)
Colour = Literal["without", "with"]
Stroke = Literal["solid", "dashed", "dotted"]

WIDTH, HEIGHT, TEXT = 400, 236, 12.5  # units of the SVG, shown at 350 to 480 pixels
DASHES: dict[str, Any] = {"solid": "-", "dashed": (0, (4.5, 2.2)), "dotted": (0, (1.2, 1.6))}

# Colours that matplotlib draws with, each replaced by a CSS variable of the page, which has a light and a dark theme.
VARIABLES = {"without": "#0a0b01", "with": "#0a0b02", "muted": "#0a0b03", "grid": "#0a0b04"}
PRINTED = {"without": "#767b86", "with": "#1558d6", "muted": "#62666e", "grid": "#e4e2dd"}  # colours of an SVG file


class Line(NamedTuple):
    """One quantity of one arm: a series for each seed; several are drawn as thin lines and their mean."""

    label: str
    colour: Colour
    stroke: Stroke
    seeds: list[Series]


class Panel(NamedTuple):
    """A chart of a figure: heading, label of the x axis, and lines."""

    heading: str
    x: str
    lines: Sequence[Line]


def draw(
    name: str, lines: Sequence[Line], *, logarithmic: bool = False, from_zero: bool = False, most: float | None = None
) -> str:
    """An `<svg>` element without fixed size; the same lines give the same text.

    `name` must be unique on a page: the ids in the element are derived from it. A logarithmic axis is linear below the
    smallest positive value, to show zeros. `most`: the greatest value there can be.
    """
    with _canvas(name, 1) as (axes, file):
        _fill(axes[0], lines, "step", logarithmic=logarithmic, from_zero=from_zero)
        if most is not None:
            axes[0].set_ylim(top=min(axes[0].get_ylim()[1], 1.01 * most))
    return _inline(file.getvalue())


def draw_figure(name: str, panels: Sequence[Panel]) -> str:
    """The text of an SVG file: charts side by side, with logarithmic y axes, headings and legends."""
    with _canvas(name, len(panels)) as (axes, file):
        for place, panel in zip(axes, panels, strict=True):
            _fill(place, panel.lines, panel.x, logarithmic=True, from_zero=False)
            place.set_title(panel.heading, loc="left", fontsize=TEXT, color=VARIABLES["muted"])
            place.legend(frameon=False, fontsize=TEXT - 2, labelcolor=VARIABLES["muted"])
    svg = file.getvalue()
    for colour, stand_in in VARIABLES.items():
        svg = svg.replace(stand_in, PRINTED[colour])
    return svg


@contextmanager
def _canvas(name: str, charts: int) -> Iterator[tuple[list[Any], StringIO]]:
    """Axes to draw on, and a file to which the SVG is written on leaving the context."""
    try:
        import matplotlib as mpl  # noqa: PLC0415
        from matplotlib.backends.backend_svg import FigureCanvasSVG  # noqa: PLC0415
        from matplotlib.figure import Figure  # noqa: PLC0415
        from matplotlib.layout_engine import ConstrainedLayoutEngine  # noqa: PLC0415
    except ModuleNotFoundError:
        raise MissingExtraError("the report", "matplotlib", "train") from None
    with mpl.rc_context({"svg.hashsalt": name, "svg.fonttype": "none", "font.size": TEXT, "path.simplify": True}):
        size = (charts * WIDTH / 72, HEIGHT / 72)
        figure = Figure(figsize=size, layout=ConstrainedLayoutEngine(w_pad=0.02, h_pad=0.02))
        FigureCanvasSVG(figure)
        file = StringIO()
        yield list(figure.subplots(1, charts, squeeze=False)[0]), file
        nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        figure.savefig(file, format="svg", transparent=True, metadata=nothing)


def _fill(axes: Any, lines: Sequence[Line], x: str, *, logarithmic: bool, from_zero: bool) -> None:
    for line in lines:
        _draw_line(axes, line)
    _dress(axes, x)
    if logarithmic:
        _logarithmic(axes, [value for line in lines for series in line.seeds for _, value in series])
    elif from_zero:
        axes.set_ylim(bottom=0)


def mean(seeds: Sequence[Series]) -> Series:
    """Mean over seeds, at the steps that all seeds have."""
    tables = [dict(series) for series in seeds]
    common = sorted(set.intersection(*(set(table) for table in tables))) if tables else []
    return [(step, sum(table[step] for table in tables) / len(tables)) for step in common]


def _draw_line(axes: Any, line: Line) -> None:
    style = {"color": VARIABLES[line.colour], "linestyle": DASHES[line.stroke], "solid_capstyle": "round"}
    several = len(line.seeds) > 1
    for series in line.seeds:
        width, alpha = (0.8, 0.4) if several else (2.0, 1.0)
        name = None if several else line.label
        dots = _marker(series, several)
        axes.plot(*_columns(series), linewidth=width, alpha=alpha, marker=dots, ms=3.5, label=name, **style)
    if several:
        series = mean(line.seeds)
        axes.plot(*_columns(series), linewidth=2.0, marker=_marker(series, False), ms=3.5, label=line.label, **style)


def _columns(series: Series) -> tuple[list[int], list[float]]:
    return [step for step, _ in series], [value for _, value in series]


def _marker(series: Series, thin: bool) -> str:
    """The marker: dots if there are few points, and for a single point, which has no line."""
    return "o" if len(series) == 1 or (len(series) <= 12 and not thin) else ""


def _dress(axes: Any, x: str) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator  # noqa: PLC0415

    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(VARIABLES["grid"])
    axes.grid(axis="y", color=VARIABLES["grid"], linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(length=0, pad=5, labelcolor=VARIABLES["muted"])
    axes.margins(x=0.02, y=0.08)
    axes.set_xlim(left=0)
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(5))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(FuncFormatter(lambda value, _: _number(value)))
    axes.set_xlabel(x, loc="right", color=VARIABLES["muted"], labelpad=2)


def _logarithmic(axes: Any, values: Sequence[float]) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator, NullLocator  # noqa: PLC0415

    above = [value for value in values if value > 0]
    if not above:
        return
    if min(values) > 0:
        axes.set_yscale("log")
    else:
        axes.set_yscale("symlog", linthresh=min(above), linscale=0.5)
        axes.set_ylim(bottom=min(0.0, *values))
    wide = max(above) / min(above) >= 10
    if not wide:  # less than a decade holds at most one power of ten as a tick
        axes.yaxis.set_major_locator(MaxNLocator(5))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: _number(value)))
    axes.yaxis.set_minor_locator(NullLocator())


def _number(value: float) -> str:
    """A tick label: 1,000 rather than 1000 or 10³; smaller numbers with up to six digits."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.6g}".replace("-", "−")


def _inline(svg: str) -> str:
    """The `<svg>` element alone, without namespaces and fixed size, with the fonts and colours of the page."""
    svg = svg[svg.index("<svg") :].strip()
    svg = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>", "", svg, count=1, flags=re.DOTALL)
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r"<!--.*?-->", "", svg, flags=re.DOTALL)
    viewbox = re.search(r'viewBox="[^"]*"', svg)
    assert viewbox  # noqa: S101
    svg = re.sub(r"<svg[^>]*>", f'<svg {viewbox[0]} aria-hidden="true">', svg, count=1)
    svg = re.sub(r' id="[\w.]+_\d+"', "", svg)
    svg = re.sub(r"font: (?:[\w ]+ )?([\d.]+px) [^;\"]*", r"font-size: \1", svg)
    for name, colour in VARIABLES.items():
        svg = svg.replace(colour, f"var(--{name})")
    return re.sub(r"\n\s*", "\n", svg)
