"""Count how often an early measurement has the same sign as the gain of the memory on test."""

import json
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from benchmarks.recipe.cells import WITH, WITHOUT

POINT = 0.01  # a pair counts if its arms differ by more than this on test
Pair = tuple[str, float, dict[str, float], dict[str, float]]  # set, gain on test, early values without and with


def tell_rules(rows: Sequence[dict[str, str]]) -> None:
    """Print, for each early measurement, how many pairs its rule predicts on data sets that it was not fitted to."""
    pairs = _pairs(rows)
    worse = sum(gain < 0 for _, gain, _, _ in pairs)
    print(f"{len(pairs)} pairs over a point apart on test, of {len({pair[0] for pair in pairs})} sets; {worse} lose")
    for name, right, counted in sorted(_rules(pairs), key=lambda rule: -rule[1] / max(rule[2], 1)):
        print(f"{right:4} of {counted:3} right ({right / max(counted, 1):.0%}): {name}")


def _pairs(rows: Sequence[dict[str, str]]) -> list[Pair]:
    """Runs of one seed without and with memory that are alike in all else, except for their learning rates."""
    cells: dict[tuple[str, ...], dict[str, dict[str, str]]] = defaultdict(dict)
    for row in rows:
        if row["test"] and row["arm"] in (WITHOUT, WITH):
            cells[tuple(row[key] for key in ("data", "loss", "recipe", "steps", "seed"))][row["arm"]] = row
    found = []
    for key, arms in cells.items():
        if len(arms) == 2:
            gain = float(arms[WITH]["test"]) - float(arms[WITHOUT]["test"])
            if abs(gain) > POINT:
                early = [json.loads(arms[arm]["early"] or "{}") for arm in (WITHOUT, WITH)]
                found.append((key[0], gain, early[0], early[1]))
    return found


def _rules(pairs: Sequence[Pair]) -> list[tuple[str, int, int]]:
    """Name, right and counted of each rule: the sign of a difference, or a threshold fitted on the other data sets."""
    always = sum(gain > 0 for _, gain, _, _ in pairs)
    told = [("always take the memory", always, len(pairs))]
    names = sorted({name for pair in pairs for name in (*pair[2], *pair[3])})
    for name in names:
        both = [(gain, one[name], other[name]) for _, gain, one, other in pairs if name in one and name in other]
        if "val/" in name:
            right = sum((other > one) == (gain > 0) for gain, one, other in both)
            told.append((f"{name}, with memory above without", right, len(both)))
        of_arm = [(data, gain, other[name]) for data, gain, _, other in pairs if name in other]
        told.append((f"{name}, a threshold from the other sets", *_left_out(of_arm)))
    return told


def _left_out(values: Sequence[tuple[str, float, float]]) -> tuple[int, int]:
    """Judge each data set by the threshold and side that are right most often on the other data sets."""
    right = counted = 0
    for data in {one[0] for one in values}:
        others = [one for one in values if one[0] != data]
        if not others:
            continue
        rules = [(_right(others, limit, side), limit, side) for _, _, limit in others for side in (1, -1)]
        _, limit, side = max(rules)
        mine = [one for one in values if one[0] == data]
        right, counted = right + _right(mine, limit, side), counted + len(mine)
    return right, counted


def _right(values: Sequence[tuple[str, float, float]], limit: float, side: int) -> int:
    judged: list[Any] = [((value - limit) * side >= 0) == (gain > 0) for _, gain, value in values]
    return sum(judged)
