"""A search over learning rates, the same for every arm, that is widened where the rate at an end is best."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

Tried = dict[str, Any]  # arm, lr, validation R@1, validation MAP@R
Score = tuple[float, float]  # R@1, and MAP@R, which decides between equals
WIDENINGS = 2  # most times that a search is widened


def search(score: Callable[[str, float], Score], arms: Sequence[str], rates: Iterable[float]) -> list[Tried]:
    """Score every rate in every arm; where an arm's best rate is at an end, score the next rate in every arm too."""
    scores: dict[tuple[str, float], Score] = {}
    tried = sorted(set(rates))
    for _ in range(1 + WIDENINGS):
        for arm in arms:
            for rate in tried:
                if (arm, rate) not in scores:
                    scores[arm, rate] = score(arm, rate)
        results = [{"arm": arm, "lr": rate, **_named(scores[arm, rate])} for arm in arms for rate in tried]
        tried = _widened(tried, [[scores[arm, rate] for rate in tried] for arm in arms])
    return results


def best(found: Sequence[Tried], arm: str) -> float | None:
    """The learning rate of an arm that validates best, the smaller of equals; None where no rate was tried."""
    mine = [row for row in found if row["arm"] == arm]
    return max(mine, key=lambda row: (*_score(row), -row["lr"]))["lr"] if mine else None


def alike(found: Sequence[Tried], arm: str) -> bool:
    """Whether all rates of an arm have the same score, so that validation chooses none of them."""
    return len({_score(row) for row in found if row["arm"] == arm}) == 1


def _named(score: Score) -> dict[str, float]:
    return {"validation R@1": score[0], "validation MAP@R": score[1]}


def _score(row: Tried) -> Score:
    return row["validation R@1"], row["validation MAP@R"]


def _widened(rates: Sequence[float], scores: Sequence[Sequence[Score]]) -> list[float]:
    """The rates, and the next rate beyond an end that alone is best in an arm, in the ratio of the last two rates."""
    if len(rates) == 1:
        return list(rates)
    below = [rates[0] ** 2 / rates[1]] if any(arm[0] > max(arm[1:]) for arm in scores) else []
    above = [rates[-1] ** 2 / rates[-2]] if any(arm[-1] > max(arm[:-1]) for arm in scores) else []
    return [*(float(f"{rate:.2g}") for rate in below), *rates, *(float(f"{rate:.2g}") for rate in above)]
