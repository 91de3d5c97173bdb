"""`crossbatch report RUN`: the page that shows a run, or a comparison."""

from pathlib import Path

from crossbatch.commands.output import console_for, print_json


def report(run: Path, json: bool = False) -> int:
    """Write report.html into a run folder or a comparison's folder: curves, hard negatives, memory, examples.

    Args:
        run: Run folder, or the folder of a comparison.
        json: Print the path as JSON, and nothing else, on standard output.
    """
    from crossbatch.report import write_report  # noqa: PLC0415  (imports matplotlib)

    path = write_report(run)
    if json:
        print_json({"report": str(path)})
    else:
        console_for(json).print(str(path), soft_wrap=True, highlight=False)
    return 0
