"""`crossbatch evaluate RUN`: search a part of the data set with a trained model."""

from pathlib import Path
from typing import Literal

from crossbatch import data, runs
from crossbatch.commands.output import console_for, print_json, print_table
from crossbatch.training.settings import Settings


def evaluate(
    run: Path,
    part: Literal["test", "validation"] = "test",
    k: list[int] = [1, 2, 4, 8],  # noqa: B006  (the parser shows it and never changes it)
    root: Path | None = None,
    json: bool = False,
) -> int:
    """Measure Recall@K, R-precision and MAP@R of a run's best model; each look is counted in the run folder.

    Args:
        run: Run folder.
        part: test, or the validation classes.
        k: The K of Recall@K, as [1,10,100].
        root: Where the data set is now, if it has moved since the run.
        json: Print the result as JSON, and nothing else, on standard output.
    """
    settings = Settings.from_dict(runs.read_config(run))
    from crossbatch.training.evaluation import evaluate_run  # noqa: PLC0415  (imports torchvision)

    result = evaluate_run(run, data.load(settings.data, root or settings.root, settings.split), part, k)
    if json:
        print_json(result)
        return 0
    metrics = [name for name in result if name.startswith("R@") or name in ("R-precision", "MAP@R")]
    title = (
        f"{result['data']} ({result['fingerprint']}), {part}: {result['queries']:,} queries among "
        f"{result['gallery']:,} images of {result['classes']:,} classes; look {result['look']}"
    )
    print_table(console_for(json), title, ["run", *metrics], [[run.name, *(f"{result[m]:.4f}" for m in metrics)]])
    if result["left_out"]:
        console_for(json).print(f"{result['left_out']} images without another of their class were not queried")
    return 0
