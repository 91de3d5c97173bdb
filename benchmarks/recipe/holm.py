"""Correct the p values of many differences for their number (Holm 1979)."""

from collections.abc import Sequence

from benchmarks.recipe.cells import WITH

LEVEL = 0.05


def holm(values: Sequence[float]) -> list[float]:
    """Adjusted p values. All hypotheses with an adjusted value below a level are rejected at that level together."""
    order = sorted(range(len(values)), key=values.__getitem__)
    adjusted, largest = [0.0] * len(values), 0.0
    for place, index in enumerate(order):
        largest = max(largest, min(1.0, (len(values) - place) * values[index]))
        adjusted[index] = largest
    return adjusted


def tell_differences(rows: Sequence[dict[str, str]]) -> None:
    """Print each difference between memory and no memory with interval and adjusted p value, and their mean."""
    rows = [row for row in rows if row["arm"] == WITH and row["than"] == "without" and row["p"]]
    if not rows:
        print("no cell of memory against none is finished")
        return
    gains = [float(row["difference"]) for row in rows]
    for row, gain, p in sorted(
        zip(rows, gains, holm([float(row["p"]) for row in rows]), strict=True), key=lambda one: -one[1]
    ):
        told = "lost" if p < LEVEL and gain < 0 else "gained" if p < LEVEL else ""
        print(
            f"{100 * gain:+5.1f} ({100 * float(row['low']):+.1f} to {100 * float(row['high']):+.1f})  "
            f"p {p:.3f} {told:7} error × {row['error ratio']:6} "
            f"{row['data']}, {row['loss']}, {row['recipe']}, {row['steps']} steps at {row['lr']} "
            f"against {row['steps of that']} at {row['lr of that']}"
        )
    print(f"{100 * sum(gains) / len(gains):+5.1f} points on average over {len(gains)} cells")
