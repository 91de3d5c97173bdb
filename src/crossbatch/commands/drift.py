"""`crossbatch drift RUN`: how far embeddings moved while a run trained, and what that means for its memory."""

from pathlib import Path
from typing import Any

from rich.console import Console

from crossbatch import durable, runs
from crossbatch.commands.output import print_table
from crossbatch.errors import SettingError


def drift(run: Path, threshold: float = 0.1, *, console: Console) -> dict[str, Any]:
    """Show how far embeddings move in a number of steps, and what that means for the memory; draw drift.svg.

    Args:
        run: Run folder.
        threshold: Squared distance of unit vectors from which a row of the memory counts as moved; that of unrelated
            images is 2.
    """
    if not 0 < threshold < 4:
        raise SettingError(f"--threshold is a squared distance of unit vectors, between 0 and 4, got {threshold}")
    from crossbatch.report.drift import figure, read_drift, steps_shown  # noqa: PLC0415  (imports matplotlib)

    if not (run / runs.DRIFT).is_file():
        runs.read_config(run)  # raises an error if the folder is no run
    measured = read_drift(run, threshold)
    picture = run / runs.DRIFT_FIGURE
    durable.write_text(picture, figure(measured))
    shown = steps_shown(measured)
    moved = {age: dict(series) for age, series in measured.by_step.items()}
    print_table(
        console,
        "mean squared distance of a sample to itself, so many steps earlier (the paper's meter)",
        ["step", *(f"Δ {age:,}" for age in moved)],
        [[f"{step:,}", *(_number(values.get(step)) for values in moved.values())] for step in shown],
    )
    print_table(
        console,
        f"late in the run, by age (augmentation alone {measured.augmentation:.4f}; "
        f"between images of a class {measured.class_spread:.4f})",
        ["age, steps", "sample", "… carried along", "returning", "… less augmentation"],
        [
            [
                f"{row.first:,}" if row.first == row.last else f"{row.first:,} – {row.last:,}",
                _number(row.sample),
                _number(row.carried),
                _number(row.returning),
                _number(None if row.returning is None else row.returning - measured.augmentation),
            ]
            for row in measured.by_age
        ],
    )
    console.print(measured.sentence)
    console.print(f"figure: {picture}")
    return {**measured._asdict(), "by_age": [row._asdict() for row in measured.by_age], "figure": str(picture)}


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"
