"""`crossbatch evaluate RUN`: search a part of the data set with a trained model."""

from pathlib import Path
from typing import Any

from jsonargparse.typing import NonNegativeInt
from rich.console import Console

from crossbatch import runs
from crossbatch.commands.output import print_table
from crossbatch.commands.run_data import data_of_run


def evaluate(
    run: Path,
    part: str = "test",
    k: list[int] = [],  # noqa: B006  (the parser shows it and never changes it)
    root: Path | None = None,
    data: str | None = None,
    worst: NonNegativeInt = 0,
    classes: NonNegativeInt = 0,
    suspects: NonNegativeInt = 0,
    *,
    console: Console,
) -> dict[str, Any] | list[dict[str, Any]]:
    """Measure Recall@K, R-precision and MAP@R of a run's best model; each look is counted in the run folder.

    Tables of every class and of the worst queries are written to RUN/examples/PART.

    Args:
        run: Run folder.
        part: test, for every test list of the data set; one of them, as VehicleID's large; or validation.
        k: The K of Recall@K beside 1, as [10,100]; by default those usual for the data set.
        root: Where the data set is now, if it has moved since the run.
        data: The path of your own function that reads the data set, where the run was trained on one.
        worst: Print so many queries, the worst.
        classes: Print so many classes, the worst.
        suspects: List so many images whose neighbours agree on another label, pairs of classes that lie among each
            other, and near copies; the report then shows them.
    """
    loaded = data_of_run(run, data, root)
    from crossbatch.training.evaluation import evaluate_run  # noqa: PLC0415
    from crossbatch.training.part_search import parts_named  # noqa: PLC0415
    from crossbatch.training.suspect_labels import CLASS_PAIRS, NEAR_COPIES, SUSPECTS  # noqa: PLC0415

    results = [evaluate_run(run, loaded, name, k, int(suspects)) for name in parts_named(loaded, part)]
    for note in loaded.notes:
        console.print(f"note: {note}", soft_wrap=True, highlight=False)
    for result in results:
        _show(console, run.name, result)
        for file, rows in ((runs.CLASSES, classes), (runs.WORST, worst)):
            if rows > 0:
                _show_table(console, runs.example_folder(run, result["part"]) / file, rows)
        for name in (SUSPECTS, CLASS_PAIRS, NEAR_COPIES) if suspects else ():
            if result[name]:
                _show_table(console, runs.example_folder(run, result["part"]) / f"{name}.csv", suspects)
    return results[0] if len(results) == 1 else results


def _show(console: Console, run: str, result: dict[str, Any]) -> None:
    metrics = [name for name in result if name.startswith("R@") or name in ("R-precision", "MAP@R")]
    title = (
        f"{result['data']} ({result['fingerprint']}), {result['part']}: {result['queries']:,} queries among "
        f"{result['gallery']:,} images of {result['classes']:,} classes; look {result['look']}"
    )
    cut = {f"{run}, first {dims} dimensions": one for dims, one in result["cut"].items()}
    measured = {"before training": result["before_training"], **cut, run: result}
    rows = [
        [
            name,
            *(f"{one[metric]:.4f}" for metric in metrics),
            f"{one['effective_dimensions']:.1f}" if "effective_dimensions" in one else "",
        ]
        for name, one in measured.items()
        if one
    ]
    print_table(console, title, ["run", *metrics, "effective dimensions"], rows)
    before = result["before_training"]
    if before and result["R@1"] < before["R@1"]:
        worse = f"R@1 was {before['R@1']:.4f} before training and is {result['R@1']:.4f} after it"
        console.print(f"warning: training made it worse: {worse}", soft_wrap=True, highlight=False)
    if result["left_out"]:
        names, total = result["classes_left_out"], result["queries"] + result["left_out"]
        shown = ", ".join(names[:5]) + (", …" if len(names) > 5 else "")
        why = "without another image there" if result["alone"] else "that are not in the gallery"
        told = f"{result['left_out']:,} of {total:,} queries have nothing to find and do not count: "
        console.print(f"{told}they are of {len(names):,} classes {why}: {shown}", soft_wrap=True, highlight=False)


def _show_table(console: Console, path: Path, rows: int) -> None:
    table = runs.read_table(path)
    title = f"the first {min(rows, len(table))} of {len(table):,} in {path}"
    print_table(console, title, list(table[0]), [list(row.values()) for row in table[:rows]])
