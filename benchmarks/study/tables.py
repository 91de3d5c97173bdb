"""Print what the memory gains each loss on each data set, as Markdown: `python -m benchmarks.study.tables`."""

import statistics

from benchmarks.study.cells import DEFAULT, WITH, WITHOUT
from benchmarks.study.figures import TABLES
from crossbatch.commands.compare import spread
from crossbatch.runs import read_table


def main() -> None:
    looks = [row for row in read_table(TABLES / "study.csv") if row["condition"] == DEFAULT]
    print("| data | loss | learning rate, without and with | R@1 without | R@1 with | error × | seed by seed |")
    print("|---|---|---|---|---|---|---|")
    for data, loss in dict.fromkeys((row["data"], row["loss"]) for row in looks):
        arms = [
            {row["seed"]: row for row in looks if (row["data"], row["loss"], row["arm"]) == (data, loss, arm)}
            for arm in (WITHOUT, WITH)
        ]
        if set(arms[0]) == set(arms[1]) != set():
            print(_line(data, loss, *arms))


def _line(data: str, loss: str, without: dict[str, dict[str, str]], memory: dict[str, dict[str, str]]) -> str:
    """Both by seed."""
    recalls = [[float(arm[seed]["R@1"]) for seed in sorted(without)] for arm in (without, memory)]
    rates = ", ".join(arm["0"]["lr"] for arm in (without, memory))
    seed_by_seed = ", ".join(f"{(1 - b) / (1 - a):.3f}" for a, b in zip(*recalls, strict=True))
    ratio = (1 - statistics.mean(recalls[1])) / (1 - statistics.mean(recalls[0]))
    cells = (data, loss, rates, spread(recalls[0]), spread(recalls[1]), f"**{ratio:.3f}**", seed_by_seed)
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
