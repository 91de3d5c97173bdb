"""`crossbatch evaluate RUN`: measure retrieval by a trained model on a part of the data set, or on other images."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jsonargparse.typing import NonNegativeInt
from rich.console import Console

from crossbatch import runs
from crossbatch.commands.output import print_table, refuse_read_only
from crossbatch.commands.run_data import data_of_run
from crossbatch.data import called
from crossbatch.errors import SettingError

OF_CLASSES, WORST = "of_classes", "worst_queries"


def evaluate(
    run: Path,
    part: str = "test",
    k: list[int] = [],  # noqa: B006  (the parser shows it and never changes it)
    root: Path | None = None,
    data: str | None = None,
    worst: NonNegativeInt = 0,
    classes: NonNegativeInt = 0,
    suspects: NonNegativeInt = 0,
    on: list[Path] = [],  # noqa: B006
    among: list[Path] = [],  # noqa: B006
    *,
    console: Console,
) -> dict[str, Any] | list[dict[str, Any]]:
    """Measure Recall@K, R-precision and MAP@R of a run's best model; each look is counted in the run folder.

    Tables of every class and of the worst queries are written to RUN/examples/PART.

    Args:
        run: Run folder; with --on also a folder of save_pretrained, an ONNX file, or hf://owner/name.
        part: test, for every test list of the data set; one of them, as VehicleID's large; or validation.
        k: The K of Recall@K beside 1, as [10,100]; by default those usual for the data set.
        root: Where the data set is now, if it has moved since the run.
        data: Import path of your own function that reads the data set, if the run was trained with one.
        worst: Number of worst queries to print.
        classes: Number of worst classes to print.
        suspects: Number of images to list whose neighbours agree on another label; pairs of classes that overlap
            and near copies are listed too, and the report shows them.
        on: Other images to measure on, each searched among the others: a folder with a folder for each class, or a
            table of path,label. Images of the roles query and gallery, by a column role or by folders of these names,
            are queries and gallery. Nothing is written.
        among: Images to search those of --on among, as a gallery of its own: folders and tables alike.
    """
    if on or among:
        _refuse_beside_on(part=part != "test", root=root, data=data, suspects=suspects)
        return _evaluate_on(run, on, k, among, {OF_CLASSES: classes, WORST: worst}, console)
    if run.is_dir():
        refuse_read_only(run, "copy it, or measure on images that --on names, which writes nothing")
    loaded = data_of_run(run, data, root)
    from crossbatch.training.evaluation import evaluate_run  # noqa: PLC0415
    from crossbatch.training.part_search import parts_named  # noqa: PLC0415
    from crossbatch.training.suspect_labels import CLASS_PAIRS, NEAR_COPIES, SUSPECTS  # noqa: PLC0415

    results = [evaluate_run(run, loaded, name, k, int(suspects)) for name in parts_named(loaded, part)]
    _tell(console, "note", list(dict.fromkeys(note for result in results for note in result["notes"])))
    data_name = called(loaded.name, root or runs.read_config(run).get("root"))
    for result in results:
        named = f"{data_name} ({result['fingerprint']}), {result['part']}"
        _show(console, run.name, result, named, f"; look {result['look']}")
        for file, rows in ((runs.CLASSES, classes), (runs.WORST, worst)):
            if rows > 0:
                _show_table(console, runs.example_folder(run, result["part"]) / file, rows)
        for table in (SUSPECTS, CLASS_PAIRS, NEAR_COPIES) if suspects else ():
            if result[table]:
                _show_table(console, runs.example_folder(run, result["part"]) / f"{table}.csv", suspects)
    return results[0] if len(results) == 1 else results


def _refuse_beside_on(**given: object) -> None:
    for option, value in given.items():
        if value:
            raise SettingError(f"--{option} is about the data set of the run: leave it out beside --on")


def _evaluate_on(
    model: Path, sources: list[Path], ks: list[int], among: list[Path], tables: Mapping[str, int], console: Console
) -> dict[str, Any]:
    if not sources:
        raise SettingError("--among is the gallery for the images of --on: name the queries with --on")
    from crossbatch.training.other_images import evaluate_on  # noqa: PLC0415

    result = evaluate_on(model, sources, ks, among)
    _tell(console, "note", result["notes"])
    _tell(console, "left out", [image["reason"] for image in result["unreadable"]])
    searched = " ".join(map(str, sources)) + (f" in {' '.join(map(str, among))}" if among else "")
    _show(console, model.name, result, searched)
    for table, rows in tables.items():
        found = result.pop(table)[:rows]
        if found:
            result[table] = found
            _print_rows(console, found, f"the worst {len(found)} {'classes' if table == OF_CLASSES else 'queries'}")
    return result


def _tell(console: Console, what: str, sentences: Sequence[str]) -> None:
    for sentence in sentences:
        console.print(f"{what}: {sentence}")


def _show(console: Console, run: str, result: dict[str, Any], searched: str, look: str = "") -> None:
    metrics = list(filter(runs.is_metric, result))
    title = (
        f"{searched}: {result['queries']:,} queries among {result['gallery']:,} images of "
        f"{result['classes']:,} classes{look}"
    )
    cut = {f"{run}, first {dims} dimensions": values for dims, values in result["cut"].items()}
    measured = {"before training": result["before_training"], **cut, run: result}
    rows = [
        [
            name,
            *(f"{values[metric]:.4f}" for metric in metrics),
            f"{values['effective_dimensions']:.1f}" if "effective_dimensions" in values else "",
        ]
        for name, values in measured.items()
        if values
    ]
    print_table(console, title, ["run", *metrics, "dimensions used"], rows)
    before = result["before_training"]
    if before and result["R@1"] < before["R@1"]:
        worse = f"R@1 was {before['R@1']:.4f} before training and is {result['R@1']:.4f} after it"
        console.print(f"warning: training made it worse: {worse}")
    if result["left_out"]:
        console.print(_left_out(result))


def _left_out(result: Mapping[str, Any]) -> str:
    """A sentence on the queries that do not count, and their classes."""
    names, left, total = result["classes_left_out"], result["left_out"], result["queries"] + result["left_out"]
    shown = ", ".join(names[:5]) + (", …" if len(names) > 5 else "")
    one = len(names) == 1
    counted = "has nothing to find and does" if left == 1 else "have nothing to find and do"
    whose = f"their {len(names):,} classes" if not one else "its class" if left == 1 else "their class"
    is_there = ("has" if one else "have") + " no other image there"
    is_there = is_there if result["alone"] else ("is" if one else "are") + " not in the gallery"
    return f"{left:,} of {total:,} queries {counted} not count: {whose} {is_there}: {shown}"


def _show_table(console: Console, path: Path, rows: int) -> None:
    table = runs.read_table(path)
    _print_rows(console, table[:rows], f"the first {min(rows, len(table))} of {len(table):,} in {path}")


def _print_rows(console: Console, rows: Sequence[Mapping[str, Any]], title: str) -> None:
    cells = [[f"{cell:.4f}" if isinstance(cell, float) else str(cell) for cell in row.values()] for row in rows]
    print_table(console, title, list(rows[0]), cells)
