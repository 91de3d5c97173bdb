"""The verdict of a comparison: what it calls a clear difference, and the run that it proposes."""

import json
import math
from collections.abc import Sequence
from pathlib import Path

import pytest

from crossbatch import runs
from crossbatch.report.evidence import sign_test
from crossbatch.report.verdict import verdict_of

QUERIES = 110
Wrong = Sequence[set[int]]  # the wrong queries of each seed


def compared(folder: Path, without: Wrong, remembering: Wrong, *, rows: int | None = QUERIES) -> Path:
    """A comparison folder; `rows`: rows of the tables of worst queries, None for no such tables."""
    arms = []
    for name, memory, seeds in (("without memory", 0, without), ("with memory", 500, remembering)):
        folders = [folder / f"{name.replace(' ', '-')}-seed{seed}" for seed in range(len(seeds))]
        for run, wrong in zip(folders, seeds, strict=True):
            run.mkdir()
            runs.write_json(run / runs.SUMMARY, {"memory_rows": memory})
            runs.write_json(run / runs.EVALUATIONS, [{"part": "test", "R@1": 0.5, "queries": QUERIES}])
            if rows is not None:
                write_worst(run, wrong, rows)
        recall = [1 - len(wrong) / QUERIES for wrong in seeds]
        arms.append(
            {"name": name, "memory_rows": memory, "runs": [run.name for run in folders], "test": {"R@1": recall}}
        )
    errors = [sum(map(len, seeds)) for seeds in (without, remembering)]
    ratio = {"without memory": {"of means": errors[1] / errors[0]}}
    result = {"seeds": len(without), "test": {"queries": QUERIES}, "arms": arms, "error_ratio": ratio}
    (folder / runs.COMPARISON).write_text(json.dumps(result), encoding="utf-8")
    return folder


def write_worst(run: Path, wrong: set[int], rows: int) -> None:
    """Write the first rows of the table of worst queries, the wrong ones first."""
    order = sorted(range(QUERIES), key=lambda query: query not in wrong)
    table = [
        {"query": f"{query}.jpg", "class": "kiwi", "first right at": 2 if query in wrong else 1}
        for query in order[:rows]
    ]
    runs.write_table(runs.example_folder(run, "test") / runs.WORST, table)


def span(first: int, last: int) -> set[int]:
    """The queries from the first up to the one before the last."""
    return set(range(first, last))


def test_the_sign_test_counts_every_outcome() -> None:
    for cases in range(12):
        for one in range(cases + 1):
            uneven = [k for k in range(cases + 1) if abs(2 * k - cases) >= abs(2 * one - cases)]
            assert sign_test(one, cases - one) == pytest.approx(sum(math.comb(cases, k) for k in uneven) / 2**cases)
    assert sign_test(40_000, 0) == 0


@pytest.mark.parametrize(
    ("without", "remembering"),
    [
        pytest.param([span(0, 33), span(0, 27)], [span(0, 34), span(0, 28)], id="one more query in every seed"),
        pytest.param([span(0, 40), span(0, 40)], [span(0, 10), span(0, 41)], id="seeds of both signs"),
        pytest.param([span(0, 40), span(0, 40)], [span(0, 1), span(0, 39)], id="a mean within the deviation"),
        pytest.param([span(0, 30)], [span(4, 40)], id="one seed, four queries of one arm and ten of the other"),
        pytest.param([span(0, 30)], [span(0, 30)], id="no difference"),
    ],
)
def test_what_chance_explains_is_no_clear_difference(tmp_path: Path, without: Wrong, remembering: Wrong) -> None:
    verdict = verdict_of(compared(tmp_path, without, remembering))
    assert verdict.sentence.startswith("No clear difference: ")
    assert verdict.run == tmp_path / "without-memory-seed0"


def test_the_numbers_stay_where_there_is_no_clear_difference(tmp_path: Path) -> None:
    told = verdict_of(compared(tmp_path, [span(0, 33), span(0, 27)], [span(0, 34), span(0, 28)])).sentence
    assert told == "No clear difference: 30 and 31 of 110 queries are wrong without and with the memory (2 seeds)."


@pytest.mark.parametrize(
    ("without", "remembering"),
    [
        pytest.param([span(0, 30)], [span(0, 20)], id="one seed"),
        pytest.param([span(0, 30), span(0, 31)], [span(0, 20), span(0, 22)], id="two seeds"),
    ],
)
def test_a_clear_difference_is_told_and_the_better_run_proposed(
    tmp_path: Path, without: Wrong, remembering: Wrong
) -> None:
    for name, arms, told in (("better", (without, remembering), "fewer"), ("worse", (remembering, without), "more")):
        (tmp_path / name).mkdir()
        verdict = verdict_of(compared(tmp_path / name, *arms))
        assert f"% {told} errors on the test classes with the memory" in verdict.sentence
        assert verdict.run
        assert verdict.run.name.startswith("with-" if name == "better" else "without-")


@pytest.mark.parametrize("rows", [None, 15])
def test_without_all_wrong_queries_their_numbers_are_tested(tmp_path: Path, rows: int | None) -> None:
    """Ten queries fewer are clear only where it is known that the other twenty are wrong in both arms."""
    for name, better, clear in (("few", span(0, 20), False), ("many", span(0, 10), True)):
        (tmp_path / name).mkdir()
        verdict = verdict_of(compared(tmp_path / name, [span(0, 30)], [better], rows=rows))
        assert verdict.sentence.startswith("No clear difference") is not clear


def test_a_damaged_table_of_worst_queries_counts_as_none(tmp_path: Path) -> None:
    folder = compared(tmp_path, [span(0, 30)], [span(0, 20)])
    for table in folder.rglob(runs.WORST):
        table.write_text("query,class\na,b\n", encoding="utf-8")
    assert verdict_of(folder).sentence.startswith("No clear difference")


def test_a_memory_arm_without_a_wrong_query_is_the_run_to_serve(tmp_path: Path) -> None:
    verdict = verdict_of(compared(tmp_path, [span(0, 30)], [span(0, 0)]))
    assert verdict.run == tmp_path / "with-memory-seed0"
