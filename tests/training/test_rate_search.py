"""Tests of the search for a learning rate: it is the same for every arm, and goes beyond an end that is best."""

import math

from crossbatch.training.rate_search import alike, best, search


def _scored(peaks: dict[str, float], rates: tuple[float, ...]) -> list[tuple[str, float]]:
    found = search(lambda arm, rate: (-abs(math.log(rate / peaks[arm])), 0.0), list(peaks), rates)
    return [(row["arm"], row["lr"]) for row in found]


def test_every_arm_gets_every_rate_that_an_end_of_one_asks_for() -> None:
    """A best rate inside the range ends the search, and so does the second widening."""
    rates = [1e-4, 1e-3, 1e-2, 0.1, 1.0]
    assert _scored({"one": 3e-3, "other": 1.0}, (1e-3, 1e-2)) == [(arm, lr) for arm in ("one", "other") for lr in rates]
    inner = {lr for _, lr in _scored({"one": 3e-3, "other": 2e-3}, (1e-3, 3e-3, 1e-2))}
    assert inner == {1e-3, 3e-3, 1e-2}


def test_a_search_goes_on_by_the_step_of_its_rates() -> None:
    for peak, rates in ((1e-9, [2.5e-4, 5e-4, 1e-3, 2e-3]), (1.0, [1e-3, 2e-3, 4e-3, 8e-3])):
        assert [lr for _, lr in _scored({"one": peak}, (1e-3, 2e-3))] == rates


def test_an_end_that_is_no_better_is_not_gone_beyond() -> None:
    """If all rates or the lowest two have the same perfect validation, only the given rates are tried."""
    for score in (lambda arm, rate: (1.0, 0.5), lambda arm, rate: (float(rate < 5e-3), 0.5)):
        found = search(score, ["one", "other"], (1e-3, 3e-3, 1e-2))
        assert sorted({row["lr"] for row in found}) == [1e-3, 3e-3, 1e-2]
        assert alike(found, "one") == (score("one", 1e-2)[0] == 1)
    assert [row["lr"] for row in search(lambda arm, rate: (0.5, 0.5), ["one"], (1e-3, 1e-3))] == [
        1e-3
    ]  # one rate, given twice


def test_the_best_is_the_smaller_of_equals_and_none_of_nothing() -> None:
    rows = [{"arm": "one", "lr": lr, "validation R@1": 0.5, "validation MAP@R": 0.4} for lr in (3e-3, 1e-3)]
    assert best(rows, "one") == 1e-3
    assert best(rows, "other") is None


def test_where_all_are_found_the_better_ranking_decides() -> None:
    found = search(lambda arm, rate: (1.0, {1e-3: 0.4, 3e-3: 0.9, 1e-2: 0.7}[rate]), ["one"], (1e-3, 3e-3, 1e-2))
    assert best(found, "one") == 3e-3
    assert not alike(found, "one")
