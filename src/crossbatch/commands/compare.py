"""`crossbatch compare`: whether the memory helps on these data, and what it costs."""

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from crossbatch import runs
from crossbatch.commands.output import continuable, print_table
from crossbatch.data import called
from crossbatch.training.comparable import kept_options
from crossbatch.training.rate_search import alike
from crossbatch.training.settings import Settings
from crossbatch.typed import typed

USUAL_RATES, TRAINED_RATES = [3e-4, 1e-3, 3e-3, 1e-2], [3e-5, 1e-4, 3e-4, 1e-3]


def compare(
    settings: Settings,
    out: Path | None = None,
    seeds: int = 3,
    learning_rates: list[float] | None = None,
    equal_time: bool = True,
    k: list[int] = [],  # noqa: B006
    arms: dict[str, Any] = {},  # noqa: B006
    given: Mapping[str, Any] = {},
    *,
    console: Console,
) -> dict[str, Any]:
    """Train the same configuration without and with memory, and print one table.

    Both arms get the same search over learning rates, on validation classes; then every seed is trained with the best,
    and test is looked at once. Steps are equal; a further arm without memory gets equal time.

    Args:
        settings: All options of a training run.
        out: Folder to make or to continue; by default runs/compare-ROOT-LOSS.
        seeds: Runs of each arm, with seeds from --seed on.
        learning_rates: Learning rates to try, as [0.0003,0.001]; a single rate is not searched. By
            default 0.0003, 0.001, 0.003, 0.01 (a tenth of these where the network starts from trained weights),
            or only --optim.lr, if that is given.
        equal_time: Whether to train the arm without memory once more, for as long as the arm with memory takes.
        k: The K of Recall@K, as [1,10,100]; by default those usual for the data set.
        arms: Settings of each arm alone, as `crossbatch tune` writes them; then no learning rate is searched.
        given: The settings that the user gave, by name.
    """
    run = out or Path("runs", f"compare-{settings.name}-{settings.loss.name}")
    settings = settings.at_usual_rate(given)
    settings.check()
    if not runs.is_comparison(run, kept_options(settings.resolved(), arms)):
        runs.refuse_used(run)
    from crossbatch.report import verdict_of, write_report  # noqa: PLC0415  (imports matplotlib)
    from crossbatch.training.comparison import compare as compare_runs  # noqa: PLC0415  (imports Lightning)

    rates = learning_rates or []
    if learning_rates is None and not arms:
        usual = TRAINED_RATES if settings.model.trained else USUAL_RATES
        rates = [float(settings.optim.lr)] if "lr" in given.get("optim", {}) else usual
        if len(rates) == 1:
            console.print(f"learning rate {rates[0]:g} in both arms; --learning_rates searches")
    with continuable():
        result = compare_runs(
            settings, run, console, seeds=seeds, learning_rates=rates, equal_time=equal_time, ks=k, own=arms
        )
    path = write_report(run)
    show(console, result, called(result["data"], settings.root))
    verdict = verdict_of(run)
    console.print(verdict.sentence)
    console.print(f"report: {path}")
    if verdict.run:
        console.print(f"search it: crossbatch serve {typed(verdict.run)}")
    return {**result, "report": str(path)}


def show(console: Console, result: dict[str, Any], name: str) -> None:
    """Print the table of a comparison, the ratio of errors and the warnings; `name`: the data set, for the title."""
    recall = [metric for metric in result["arms"][0]["test"] if metric.startswith("R@")]
    metrics = [*dict.fromkeys([recall[0], recall[-1]]), "MAP@R"]  # the report shows all metrics
    rows = [
        [
            arm["name"],
            f"{arm['lr']:g}",
            f"{arm['steps']:,}",
            *(spread(arm["test"][metric]) for metric in metrics),
            f"{arm['training_seconds']:.0f}",
        ]
        for arm in result["arms"]
    ]
    before = result.get("before_training") or {}
    if before.get(metrics[0]):
        rows.insert(0, ["before training", "", "0", *(spread(before[metric]) for metric in metrics), ""])
    seeds = "1 seed" if result["seeds"] == 1 else f"{result['seeds']} seeds"
    part = result["test"].get("part", "test")
    part = part if part == "test" else f"test list {part}"
    title = (
        f"{name} ({result['fingerprint']}), {result['loss']} loss, {part}: {result['test']['queries']:,} "
        f"queries of {result['test']['classes']:,} classes, {seeds}"
    )
    print_table(console, title, ["arm", "lr", "steps", *metrics, "time, s"], rows)
    for arm, ratio in result["error_ratio"].items():
        mean, *by_seed = ("–" if value is None else f"{value:.3f}" for value in (ratio["of means"], *ratio["by seed"]))
        console.print(f"errors with memory, as a multiple of those {arm}: {mean} (seed by seed: {', '.join(by_seed)})")
    for arm in dict.fromkeys(row["arm"] for row in result["search"]):
        if alike(result["search"], arm):
            warning = f"warning: {arm}: validation R@1 is the same at every learning rate, and the smallest was taken"
            way_out = "hold more classes out with --split.validation_share"
            console.print(f"{warning}; {way_out}")
    for run, warnings in result.get("warnings", {}).items():
        for warning in warnings:
            console.print(f"warning: {run}: {warning}")
    cost = result["step_cost"]
    console.print(
        f"a step with memory takes {cost['ratio']:.2f} × the time of one without "
        f"({cost['with'] * 1e3:.0f} and {cost['without'] * 1e3:.0f} ms, medians of steps in turn)"
    )


def spread(values: Sequence[float]) -> str:
    """Mean ± standard deviation over the seeds."""
    mean = f"{statistics.mean(values):.4f}"
    return mean if len(values) < 2 else f"{mean} ± {statistics.stdev(values):.4f}"
