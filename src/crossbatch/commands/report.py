"""`crossbatch report RUN`: the page that shows a run, a comparison, or a search for settings."""

from pathlib import Path

from rich.console import Console

from crossbatch.commands.output import refuse_below_file, refuse_read_only


def report(run: Path, out: Path | None = None, *, console: Console) -> dict[str, str]:
    """Write a page about a run or a comparison: curves, hard negatives, memory, examples. Or one about a search.

    Args:
        run: Folder of a run, of a comparison, or of a search by `crossbatch tune`.
        out: File to write, by default report.html in that folder.
    """
    from crossbatch.report import write_report  # noqa: PLC0415  (imports matplotlib)

    if out is not None:
        refuse_below_file(out)
    elif run.is_dir():
        refuse_read_only(run, "say with --out where to write")
    path = write_report(run, out)
    console.print(str(path))
    return {"report": str(path)}
