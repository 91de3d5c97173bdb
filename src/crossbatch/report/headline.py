"""The headline of a report: its result in one sentence, and the sentences below it."""

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from crossbatch import runs
from crossbatch.report.results import duration, percent, plain


def comparison_sentence(
    comparison: dict[str, Any],
    names: dict[str, str],
    queries: int | None = None,
    apart: str = "",
    *,
    clear: bool = True,
) -> str:
    """The result of a comparison in one sentence.

    `names`: the name of the arm drawn as "without", and as "with". `queries`: number of test queries, if known.
    `apart`: the reason if the memory cannot have made a difference, else empty. `clear`: whether neither the seeds nor
    the queries explain the difference; the rule is that of `evidence.is_clear`.
    """
    if apart:
        return f"No difference was measured: {apart}."
    ratio = ratio_of(comparison, names)
    if ratio is None:
        measured = {arm["name"] for arm in comparison["arms"] if arm.get("test", {}).get("R@1")}
        without = "Without memory every test query is answered right."
        return without if names.get("without") in measured else "Nothing was measured on test."
    wrong = _wrong(comparison, names, queries)
    if not clear:
        return _no_clear_difference(comparison, wrong, queries)
    change = round(100 * (ratio - 1))
    much = f"{abs(change)} % {'more' if change > 0 else 'fewer'} errors" if change else "As many errors as without it"
    counts = f": {' → '.join(wrong)} of {queries:,} queries" if wrong else ""
    return f"{much} on the test classes with the memory{counts}."


def ratio_of(comparison: dict[str, Any], names: dict[str, str]) -> float | None:
    """Errors with memory as a multiple of those without, over all seeds; None if there are none without."""
    ratios = comparison.get("error_ratio") or {}
    ratio: float | None = (ratios.get(names.get("without", "")) or {}).get("of means")
    return ratio


def counted(comparison: dict[str, Any]) -> str:
    """The loss, the number of seeds, and the definition of an error, in one line."""
    seeds = _seeds(comparison)
    over = seeds if seeds == "1 seed" else f"mean of {seeds}"
    return f"{comparison.get('loss', '')} loss · {over} · an error: the nearest image has another class"


def _seeds(comparison: dict[str, Any]) -> str:
    seeds = int(comparison.get("seeds") or 1)
    return "1 seed" if seeds == 1 else f"{seeds} seeds"


def _no_clear_difference(comparison: dict[str, Any], wrong: list[str], queries: int | None) -> str:
    """The sentence where chance explains the difference, with the numbers of wrong queries if they are known."""
    if queries is None or not wrong:
        return f"No clear difference between training without and with the memory ({_seeds(comparison)})."
    counts = f"{' and '.join(wrong)} of {queries:,} queries are wrong without and with the memory"
    return f"No clear difference: {counts} ({_seeds(comparison)})."


def _wrong(comparison: dict[str, Any], names: dict[str, str], queries: int | None) -> list[str]:
    """How many queries have a wrong answer, without and with memory, as text; empty if unknown."""
    measured = {arm["name"]: arm.get("test", {}).get("R@1") for arm in comparison["arms"]}
    both = [measured.get(names.get(role, "")) for role in ("without", "with")]
    if queries is None or not all(both):
        return []
    wrong = wrong_queries([values for values in both if values], queries)
    few = max(wrong) < 100 and any(abs(count - round(count)) > 0.01 for count in wrong)  # means over seeds
    return [f"{count:,.{1 if few else 0}f}" for count in wrong]


def wrong_queries(recall: Sequence[Sequence[float]], queries: int) -> list[float]:
    """The number of queries that each arm answers wrongly, a mean over its seeds; `recall`: R@1 by arm and seed."""
    return [queries * (1 - statistics.mean(values)) for values in recall]


def run_sentence(run: Path, summary: dict[str, Any]) -> str:
    """The result of one run in one sentence: on test if that was evaluated, else on validation."""
    entry = last_test(run)
    if entry is not None and entry.get("R@1") is not None:
        closed = any("training and test" in note and "closed-set" in note for note in entry.get("notes") or [])
        where = "On test images of classes that it was trained on too" if closed else "On classes that it never saw"
        of = f" of {entry['queries']:,} queries" if entry.get("queries") else " of the queries"
        before = (entry.get("before_training") or {}).get("R@1")
        start = "" if before is None else f" ({100 * before:.1f} % before training)"
        return f"{where}, the nearest image is right for {100 * entry['R@1']:.1f} %{of}{start}."
    best = summary.get("best_validation_R@1")
    if best is None:
        return "Trained; there is no validation, and test was not looked at yet."
    return f"Best R@1 on the validation classes: {percent(best)} %. Test was not looked at yet."


def trained(summary: dict[str, Any]) -> str:
    """Steps and time of training of a run, and the signal that stopped it, if one did."""
    text = f"{plain(summary.get('steps'))} steps in {duration(summary.get('training_seconds'))} of training"
    if "waiting_for_data" in summary:
        text += f" ({summary['waiting_for_data']:.0%} of it waiting for data)"
    if summary.get("interrupted"):
        text += f", where {summary.get('ended_by') or 'a signal'} stopped it; crossbatch train --resume goes on"
    return text


def last_test(run: Path) -> dict[str, Any] | None:
    """The last evaluation of the test list that was evaluated first; None without one."""
    looks = [entry for entry in runs.read_evaluations(run) if entry["part"] != "validation"]
    return next((entry for entry in reversed(looks) if entry["part"] == looks[0]["part"]), None)


def apart_of(remembering: Sequence[Path]) -> str:
    """The reason if the memory cannot have influenced the models that these runs kept; else empty."""
    summaries = [runs.read_summary(path) for path in remembering if (path / runs.SUMMARY).is_file()]
    if summaries and all(run.get("memory_steps") == 0 for run in summaries):
        return "the memory never counted in " + ("this run" if len(summaries) == 1 else f"these {len(summaries)} runs")
    late = [
        run.get("memory_start") is not None and (run.get("best_step") or 0) <= run["memory_start"] for run in summaries
    ]
    known = all(run.get("best_step") is not None for run in summaries)
    return "the models that were kept are from before the memory counted" if summaries and known and all(late) else ""


def queries_of(run: Path | None, comparison: dict[str, Any]) -> int | None:
    """The number of test queries that count, that is, with an image of their class to find; None if unknown."""
    looked = last_test(run) if run else None
    count = (looked or {}).get("queries") or (comparison.get("test") or {}).get("queries")
    return None if count is None else int(count)
