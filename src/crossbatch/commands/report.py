"""`crossbatch report RUN`: the page that shows a run, or a comparison."""

from pathlib import Path

from rich.console import Console


def report(run: Path, *, console: Console) -> dict[str, str]:
    """Write report.html into a run folder or a comparison's folder: curves, hard negatives, memory, examples.

    Args:
        run: Run folder, or the folder of a comparison.
    """
    from crossbatch.report import write_report  # noqa: PLC0415  (imports matplotlib)

    path = write_report(run)
    console.print(str(path))
    return {"report": str(path)}
