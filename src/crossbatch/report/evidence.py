"""The evidence of a comparison: whether its difference can come from chance alone."""

import csv
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from crossbatch import runs
from crossbatch.report.headline import last_test, wrong_queries
from crossbatch.report.results import folders_of

LEVEL = 0.05  # of the sign test, on both sides together
Query = tuple[str, str]  # name and class; one image may be in two classes


def is_clear(folder: Path, without: Mapping[str, Any], remembering: Mapping[str, Any], queries: int | None) -> bool:
    """Whether the difference in R@1 of two arms is clear: neither the seeds nor the queries explain it.

    Seeds, where there are several: the difference has the same sign in every seed, and its mean is larger than its
    standard deviation over the seeds. Queries: an exact sign test, two-sided at 5 %, on those that one arm answers
    right in more seeds than the other. Where the run folders do not tell which queries were wrong, the test takes how
    many were wrong in each arm, as if none were wrong in both. That is stricter.
    """
    recall = [arm.get("test", {}).get("R@1") or [] for arm in (without, remembering)]
    if not recall[0] or len(recall[0]) != len(recall[1]) or not _seeds_agree(*recall):
        return False
    sides = _right_more_often(folder, without, remembering)
    if sides is None and queries is not None:
        one, other = wrong_queries(recall, queries)
        sides = round(one), round(other)
    return sides is not None and sign_test(*sides) < LEVEL


def sign_test(one: int, other: int) -> float:
    """The chance that equal odds divide as many cases at least as unevenly as into `one` and `other`.

    Examples:
        >>> sign_test(0, 5), sign_test(3, 3)
        (0.0625, 1.0)
    """
    cases, ways = one + other, 1
    total = ways
    for few in range(min(one, other)):
        ways = ways * (cases - few) // (few + 1)  # binomial coefficients, in whole numbers of any length
        total += ways
    return min(1.0, 2 * total / (1 << cases))


def _seeds_agree(without: Sequence[float], remembering: Sequence[float]) -> bool:
    """Whether all seeds tell the same sign, with a mean beyond the standard deviation; true for one seed."""
    differences = [b - a for a, b in zip(without, remembering, strict=True)]
    if len(differences) == 1:
        return True
    same = all(value > 0 for value in differences) or all(value < 0 for value in differences)
    return same and abs(statistics.mean(differences)) > statistics.stdev(differences)


def _right_more_often(
    folder: Path, without: Mapping[str, Any], remembering: Mapping[str, Any]
) -> tuple[int, int] | None:
    """How many queries the first arm answers right in more seeds than the second, and the reverse; None if unknown."""
    ahead: Counter[Query] = Counter()  # in how many more seeds the first arm is right
    pairs = list(zip(folders_of(folder, without), folders_of(folder, remembering), strict=False))
    for first, second in ((_wrong_queries(one), _wrong_queries(other)) for one, other in pairs):
        if first is None or second is None:
            return None
        ahead.update(second - first)
        ahead.subtract(first - second)
    return (sum(n > 0 for n in ahead.values()), sum(n < 0 for n in ahead.values())) if pairs else None


def _wrong_queries(run: Path) -> set[Query] | None:
    """The test queries whose nearest image has another class; None where the run folder does not tell them all."""
    looked = last_test(run)
    table = run / runs.EXAMPLES / Path(str((looked or {}).get("part"))).name / runs.WORST
    try:
        rows = runs.read_table(table)
        wrong = {(row["query"], row["class"]) for row in rows if int(row["first right at"]) > 1}
    except (OSError, KeyError, TypeError, ValueError, csv.Error):
        return None
    # The table may be cut, the worst first: it has all wrong queries if it goes on to a right one, or has every query.
    return wrong if len(wrong) < len(rows) or len(rows) == (looked or {}).get("queries") else None
