"""The verdict of a comparison: its result in one sentence, and the run to use."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from crossbatch import runs
from crossbatch.report import headline
from crossbatch.report.evidence import is_clear
from crossbatch.report.results import WITH, WITHOUT, folders_of, read_comparison, roles_of


class Verdict(NamedTuple):
    """The result of a comparison in one sentence, and the run to use: the one with memory only if it is clearly better.

    `apart`: the reason if the memory cannot have made a difference, else empty. `run`: None if its folder is gone.
    """

    sentence: str
    apart: str
    run: Path | None


def verdict_of(folder: Path) -> Verdict:
    """The verdict of the comparison in a folder."""
    comparison = read_comparison(folder)
    roles = roles_of(comparison["arms"])
    arms: dict[str, dict[str, Any]] = {roles[arm["name"]]: arm for arm in comparison["arms"]}
    without, remembering = arms.get(WITHOUT, {}), arms.get(WITH, {})
    names = {role: arm["name"] for role, arm in arms.items()}
    apart = headline.apart_of(folders_of(folder, remembering))
    finished = {role: _finished(folder, arm) for role, arm in arms.items()}
    first = next((run for of_arm in map(finished.get, (WITHOUT, WITH)) for run in of_arm or []), None)
    queries = headline.queries_of(first, comparison)
    clear = not apart and is_clear(folder, without, remembering, queries)
    sentence = headline.comparison_sentence(comparison, names, queries, apart, clear=clear)
    ratio = headline.ratio_of(comparison, names)
    better = clear and ratio is not None and ratio < 1
    return Verdict(sentence, apart, next(iter(finished.get(WITH if better else WITHOUT, [])), None))


def _finished(folder: Path, arm: Mapping[str, Any]) -> list[Path]:
    return [run for run in folders_of(folder, arm) if (run / runs.SUMMARY).is_file()]
