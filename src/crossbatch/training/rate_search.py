"""A search over learning rates, alike for every arm, that goes on beyond an end which is best."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

Tried = dict[str, Any]  # arm, lr, validation R@1, validation MAP@R
Score = tuple[float, float]  # R@1, and MAP@R, which tells equals apart
WIDENINGS = 2  # times a search goes beyond an end of its learning rates


def search(score: Callable[[str, float], Score], arms: Sequence[str], rates: Iterable[float]) -> list[Tried]:
    """The score of every rate in every arm, and of those that the best of any arm asks for beyond."""
    scores: dict[tuple[str, float], Score] = {}
    tried = sorted(set(rates))
    for _ in range(1 + WIDENINGS):
        for arm in arms:
            for rate in tried:
                if (arm, rate) not in scores:
                    scores[arm, rate] = score(arm, rate)
        found = [{"arm": arm, "lr": rate, **_named(scores[arm, rate])} for arm in arms for rate in tried]
        tried = _widened(tried, [[scores[arm, rate] for rate in tried] for arm in arms])
    return found


def best(found: Sequence[Tried], arm: str) -> float | None:
    """The learning rate of an arm that validates best; the smaller of equals; None where none was tried."""
    mine = [row for row in found if row["arm"] == arm]
    return max(mine, key=lambda row: (*_score(row), -row["lr"]))["lr"] if mine else None


def alike(found: Sequence[Tried], arm: str) -> bool:
    """Whether validation gives all rates of an arm one score, so that it chooses none."""
    return len({_score(row) for row in found if row["arm"] == arm}) == 1


def _named(score: Score) -> dict[str, float]:
    return {"validation R@1": score[0], "validation MAP@R": score[1]}


def _score(row: Tried) -> Score:
    return row["validation R@1"], row["validation MAP@R"]


def _widened(rates: Sequence[float], scores: Sequence[Sequence[Score]]) -> list[float]:
    """The rates and, by their own step, the next one beyond an end that scores best in an arm, alone."""
    if len(rates) == 1:
        return list(rates)
    below = [rates[0] ** 2 / rates[1]] if any(arm[0] > max(arm[1:]) for arm in scores) else []
    above = [rates[-1] ** 2 / rates[-2]] if any(arm[-1] > max(arm[:-1]) for arm in scores) else []
    return [*(float(f"{rate:.2g}") for rate in below), *rates, *(float(f"{rate:.2g}") for rate in above)]
