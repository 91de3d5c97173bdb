"""Tests of the report: self-contained, complete, safe to open, reproducible, and robust to missing files."""

import json
import re
import shutil
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import yaml
from PIL import Image

from crossbatch import runs
from crossbatch.errors import MissingExtraError, RunError
from crossbatch.report import write_report
from crossbatch.report.curves import Arm, charts
from crossbatch.report.results import search_table

HOSTILE = "<b>&\"x'</b>"
SECTIONS = ("results", "curves", "search", "gallery", "setting")
CHARTS = ("R@1 on", "Loss", "Hard negatives", "Learning rate", "Rows in the memory", "Mean age")


class Reader(HTMLParser):
    """The tags of a page with their attributes, and the text that a person reads."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.open.append(tag)

    def handle_data(self, data: str) -> None:
        if self.open[-1:] != ["style"]:
            self.text += " " + " ".join(data.split())

    def handle_endtag(self, tag: str) -> None:
        while self.open and self.open.pop() != tag:
            pass

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]

    @property
    def sections(self) -> list[str | None]:
        return [attributes.get("id") for attributes in self.all("section")]

    @property
    def charts(self) -> list[str]:
        return [str(attributes["aria-label"]) for attributes in self.all("figure")]


def read(folder: Path) -> Reader:
    return Reader(write_report(folder).read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def text(made_up: Path) -> str:
    """The page of the whole comparison."""
    return write_report(made_up).read_text(encoding="utf-8")


@pytest.fixture
def page(text: str) -> Reader:
    return Reader(text)


def change(folder: Path, name: str, **values: Any) -> None:
    """Replace entries of a JSON file. None removes an entry."""
    held = json.loads((folder / name).read_text(encoding="utf-8")) | values
    kept = {key: value for key, value in held.items() if value is not None}
    (folder / name).write_text(json.dumps(kept), encoding="utf-8")


def drop_logs(comparison: Path) -> None:
    """Remove the logs in tests that do not need charts, because drawing charts takes most of the time."""
    for logs in comparison.glob("*/logs"):
        shutil.rmtree(logs)


@pytest.mark.parametrize("inner", ["", "with-memory-lr0.001-seed0"])
def test_one_file_that_needs_nothing_else(comparison: Path, inner: str) -> None:
    path = write_report(comparison / inner)
    assert path == comparison / inner / "report.html"
    text = path.read_text(encoding="utf-8")
    page = Reader(text)
    assert not re.search(r"https?:|@import|url\((?!#)", text)
    assert not page.all("script")
    assert not page.all("link")
    sources = [str(attributes["src"]) for _, attributes in page.tags if "src" in attributes]
    assert sources
    assert all(source.startswith("data:image/png;base64,") for source in sources)
    assert all(
        str(value).startswith("#")
        for _, attributes in page.tags
        for key, value in attributes.items()
        if key.endswith("href")
    )
    assert not list(path.parent.glob("*.partial"))


def test_a_comparison_shows_everything(page: Reader) -> None:
    assert page.sections == list(SECTIONS)
    assert [heading.startswith(start) for heading, start in zip(page.charts, CHARTS, strict=True)] == [True] * 6
    said = page.text.replace("\u00a0", " ")
    assert "20 % fewer errors on the test classes with the memory: 1,418 → 1,057 of 7,210 queries." in said
    assert "mean of 3 seeds · an error: the nearest image has another class" in said
    assert "85.33 ± 0.33" in said
    assert "seed by seed 0.780 to 0.830" in said
    assert said.count("✓ chosen") == 2
    for term in ("f3539c2d", "7,210 queries of 690 classes", "10,381 rows", "2.14.1", "rendered characters"):
        assert term in said


def test_a_run_shows_one_arm(run: Path) -> None:
    page = read(run)
    assert page.sections == ["results", "curves", "gallery", "setting"]
    assert len(page.charts) == 6
    assert "Best R@1 on the validation classes: 85.00" in page.text
    assert "without memory" not in page.text


def test_each_look_at_a_part_is_listed(run: Path) -> None:
    looks = [{"part": "test", "R@1": 0.8125, "MAP@R": 0.4, "queries": 24, "look": look} for look in (1, 2)]
    (run / "evaluations.json").write_text(json.dumps(looks), encoding="utf-8")
    assert read(run).text.count("81.25") == 2


def test_recalls_are_in_the_order_of_k_and_looks_are_counted(run: Path) -> None:
    runs.add_evaluation(run, {"part": "test", "R@10": 0.9, "MAP@R": 0.5, "R@2": 0.4, "queries": 7})
    heads = re.findall(r"<th[^>]*>([^<]*)</th>", write_report(run).read_text())
    assert [head for head in heads if head.startswith("R@")] == sorted(
        {head for head in heads if head.startswith("R@")}, key=lambda head: int(head[2:])
    )
    assert heads.index("MAP@R") > heads.index("R@10")
    assert runs.read_evaluations(run)[-1]["look"] == len(
        [one for one in runs.read_evaluations(run) if one["part"] == "test"]
    )


def test_a_run_that_was_stopped_says_so(run: Path) -> None:
    summary = runs.read_summary(run)
    runs.write_json(run / runs.SUMMARY, {**summary, "interrupted": True, "ended_by": "SIGINT"})
    assert "where SIGINT stopped it" in write_report(run).read_text()


def test_queries_that_differ_come_first_and_the_caption_says_so(page: Reader) -> None:
    marks = ["✓" in mark for mark in re.findall("[✓✗]", page.text.partition("for its class.")[2])]
    cards = [(marks[i : i + 8], marks[i + 8 : i + 16]) for i in range(0, len(marks), 16)]
    assert len(cards) == 12
    ranks = [0 if a[0] != b[0] else 1 if sum(a) != sum(b) else 2 for a, b in cards]
    assert ranks == sorted(ranks)
    assert set(ranks) == {0, 1, 2}
    assert "12 of 24 queries" in page.text
    assert "sorted: first those whose nearest neighbour is right with one and wrong with the other" in page.text
    assert f"right only with memory for {ranks.count(0)} and only without for 0" in page.text


def test_marks_are_more_than_a_colour(page: Reader) -> None:
    words = [str(image["alt"]).partition(":")[0] for image in page.all("img")]
    assert words.count("query") == 12
    assert words.count("right") == page.text.partition("for its class.")[2].count("✓") > 0
    assert words.count("wrong") == page.text.partition("for its class.")[2].count("✗") > 0


def test_where_nothing_can_be_pointed_at_the_class_stands_below_what_is_wrong(text: str, page: Reader) -> None:
    named = [shown for shown in re.findall(r'<span class="named"[^>]*>(.*?)</span>', text) if shown]
    assert len(named) == page.text.partition("for its class.")[2].count("✗") > 0
    style = " ".join(text.partition("@media (hover: none) {")[2].partition("</style>")[0].split())
    assert style.startswith(".row .wrong .named { display: block;")
    assert ".point { display: none; }" in style
    assert ".named { display: none; }" in text.partition("@media (hover: none)")[0]


def test_the_rate_that_an_arm_is_trained_with_is_marked_in_its_row() -> None:
    names = ("without memory", "with memory")
    search = [{"arm": name, "lr": lr, "validation R@1": 0.5} for name in names for lr in (1e-3, 1e-2)]
    arms = [{"name": name, "lr": lr} for name, lr in zip(names, (1e-2, 1e-3), strict=True)]
    table = search_table({"search": search, "arms": arms}, {})
    assert table is not None
    assert [[cell.mark for cell in row] for row in table.rows] == [[False, False, True], [False, True, False]]


def test_names_arrive_as_text(comparison: Path) -> None:
    change(comparison, "comparison.json", data=HOSTILE, loss=HOSTILE)
    drop_logs(comparison)
    page = read(comparison)
    assert len(page.all("b")) == 4, "only the numbers of the tiles may be bold"
    assert f"query: {HOSTILE}" in [image["alt"] for image in page.all("img")]
    assert HOSTILE in page.text


def test_the_same_results_give_the_same_page(comparison: Path, text: str) -> None:
    moved = write_report(comparison.rename(comparison.with_name("elsewhere"))).read_text(encoding="utf-8")
    commands = re.compile(r"(?<=crossbatch serve )\S*/")  # contains the current path of the folder
    assert commands.sub("", moved) == commands.sub("", text)


def test_ids_are_unique(page: Reader) -> None:
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))


def test_colours_are_those_of_the_page(text: str) -> None:
    assert "var(--with)" in "".join(re.findall(r"<svg.*?</svg>", text, re.DOTALL))
    assert not re.search(r"#[0-9a-f]{6}", "".join(re.findall(r"<svg.*?</svg>", text, re.DOTALL)))


def test_one_seed_no_search_no_equal_time(comparison: Path) -> None:
    held = json.loads((comparison / "comparison.json").read_text(encoding="utf-8"))
    arms = [arm for arm in held["arms"] if "equal" not in arm["name"]]
    for arm in arms:
        arm["runs"] = arm["runs"][:1]
        arm["test"] = {metric: values[:1] for metric, values in arm["test"].items()}
    ratios = {"without memory": {"of means": 0.8, "by seed": [0.8]}}
    change(comparison, "comparison.json", arms=arms, seeds=1, search=[], error_ratio=ratios)
    page = read(comparison)
    assert page.sections == ["results", "curves", "gallery", "setting"]
    assert "1 seed · an error: " in page.text
    assert "85.00 ±" not in page.text
    assert "85.00" in page.text
    assert "equal time" not in page.text
    assert "Thin: single seeds" not in page.text


@pytest.mark.parametrize(("ratio", "told"), [(1.25, "25 % more errors"), (1.002, "As many errors as without it")])
def test_a_memory_that_does_not_help_is_told_as_plainly(comparison: Path, ratio: float, told: str) -> None:
    change(comparison, "comparison.json", error_ratio={"without memory": {"of means": ratio, "by seed": [ratio] * 3}})
    drop_logs(comparison)
    assert f"{told} on the test classes with the memory" in read(comparison).text.replace("\u00a0", " ")


@pytest.mark.parametrize(
    ("summary", "told"),
    [
        ({"memory_steps": 0, "memory_start": None}, "the memory never counted in these 3 runs"),
        ({"memory_steps": 600, "memory_start": 400, "best_step": 300}, "are from before the memory counted"),
    ],
)
def test_no_ratio_is_told_where_the_memory_can_have_made_no_difference(
    comparison: Path, summary: dict[str, Any], told: str
) -> None:
    for run in comparison.glob("with-memory*"):
        runs.write_json(run / runs.SUMMARY, runs.read_summary(run) | summary)
    drop_logs(comparison)
    page = read(comparison)
    assert "No difference was measured: " in page.text
    assert told in page.text
    assert "0.800" not in page.text
    runs.write_json(run / runs.SUMMARY, runs.read_summary(run) | {"memory_steps": 900, "best_step": 900})
    assert "0.800" in read(comparison).text, "one of the runs trained with the memory"


def test_the_headline_of_a_run_is_what_test_came_to_if_it_was_looked_at(run: Path) -> None:
    look = {"part": "test", "R@1": 0.7347, "queries": 98, "before_training": {"R@1": 0.673}}
    runs.add_evaluation(run, {"part": "validation", "R@1": 0.9, "queries": 9})
    assert "Best R@1 on the validation classes: 85.00" in read(run).text
    runs.add_evaluation(run, look)
    told = read(run).text.replace("\u00a0", " ")
    right = "the nearest image is right for 73.5 % of 98 queries (67.3 % before training)."
    assert f"On classes that it never saw, {right}" in told
    assert "1,000 steps in 62 s of training" in told
    runs.add_evaluation(run, look | {"notes": ["3 classes are in both training and test: results are closed-set"]})
    assert f"On test images of classes that it was trained on too, {right}" in read(run).text.replace("\u00a0", " ")


def test_validation_of_the_weights_that_are_kept_has_a_row(run: Path) -> None:
    change(run, "summary.json", **{"best_validation_R@1": 0.9048, "best_validation_MAP@R": 0.4111, "best_step": 20})
    told = " ".join(read(run).text.split())
    assert "validation, last weights – 85.00" in told
    assert "validation, kept weights (step 20) – 90.48 41.11" in told
    change(run, "summary.json", best_step=1000)
    told = " ".join(read(run).text.split())
    assert "validation, kept weights (step 1,000, the last) – 85.00" in told
    assert "validation, last weights" not in told


def test_without_an_error_there_is_no_ratio(comparison: Path) -> None:
    change(comparison, "comparison.json", error_ratio={"without memory": {"of means": None, "by seed": [None] * 3}})
    drop_logs(comparison)
    assert "Without memory every test query is answered right." in read(comparison).text


@pytest.mark.parametrize("name", ["step_cost", "error_ratio", "search", "test", "fingerprint", "seeds", "loss", "data"])
def test_a_comparison_without_an_entry_is_still_shown(comparison: Path, name: str) -> None:
    change(comparison, "comparison.json", **{name: None})
    drop_logs(comparison)
    assert {"results", "setting"} <= set(read(comparison).sections)


def test_an_arm_without_runs_has_no_pictures(comparison: Path) -> None:
    arms = json.loads((comparison / "comparison.json").read_text(encoding="utf-8"))["arms"]
    change(comparison, "comparison.json", arms=[{**arms[0], "runs": []}, *arms[1:]])
    assert "gallery" in read(comparison).sections


def test_a_comparison_whose_runs_are_gone(comparison: Path) -> None:
    for folder in comparison.iterdir():
        if folder.is_dir():
            shutil.rmtree(folder)
    page = read(comparison)
    assert page.sections == ["results", "search", "gallery", "setting"]
    made = [f"crossbatch evaluate {comparison}/{arm}-memory-lr0.001-seed0" for arm in ("without", "with")]
    assert "; ".join(made) in page.text


def test_a_refit_has_no_validation(run: Path) -> None:
    log = next(run.glob("logs/csv/*/metrics.csv"))
    log.write_text(log.read_text(encoding="utf-8").replace("val/R@1", "other"), encoding="utf-8")
    change(run, "summary.json", **{"best_validation_R@1": None, "last_validation": None})
    page = read(run)
    assert page.sections == ["curves", "gallery", "setting"]
    assert not [heading for heading in page.charts if "validation" in heading]
    assert "there is no validation" in page.text


def test_captions_speak_of_arms_and_seeds_only_where_there_are_several(page: Reader, run: Path) -> None:
    of_several = ("the same formula for every arm", "every seed has the same")
    alone = read(run)
    assert [told in page.text for told in of_several] == [True, True]
    assert [told in alone.text for told in of_several] == [False, False]


def test_a_curve_that_lies_under_another_is_told(comparison: Path, page: Reader) -> None:
    told = "“without memory” and “with memory” coincide."
    validation = "Each validation image is searched among the others."
    assert f"{validation} “" not in page.text
    for seed in range(3):
        log = f"-lr0.001-seed{seed}/logs/csv/from_00000000/metrics.csv"
        shutil.copy(comparison / f"with-memory{log}", comparison / f"without-memory{log}")
    assert f"{validation} {told}" in " ".join(read(comparison).text.split())


def test_a_run_without_memory(comparison: Path) -> None:
    page = read(comparison / "without-memory-lr0.001-seed0")
    assert [heading.split()[0] for heading in page.charts] == ["R@1", "Loss", "Hard", "Learning"]
    assert "with memory" not in page.text


def test_a_run_without_examples_says_which_command_makes_them(run: Path) -> None:
    shutil.rmtree(run / "examples")
    assert f"crossbatch evaluate {run}" in read(run).text


@pytest.mark.parametrize(("data", "own"), [("glyphs", ""), ("my_module.load", " --data my_module.load")])
def test_commands_run_as_they_stand_where_the_report_was_made(
    run: Path, monkeypatch: pytest.MonkeyPatch, data: str, own: str
) -> None:
    there = run.rename(run.with_name("my run"))
    shutil.rmtree(there / "examples")
    options = yaml.safe_load((there / runs.CONFIG).read_text())
    (there / runs.CONFIG).write_text(yaml.safe_dump({**options, "data": data}))
    monkeypatch.chdir(there.parent.parent)
    page = read(there.relative_to(Path.cwd()))
    for command in ("evaluate", "serve"):
        assert f"crossbatch {command} 'made-up/my run'{own} " in page.text


def test_images_in_folders_are_called_by_the_last_part_of_their_root(comparison: Path, run: Path) -> None:
    drop_logs(comparison)
    for config in comparison.rglob(runs.CONFIG):
        options = yaml.safe_load(config.read_text())
        config.write_text(yaml.safe_dump({**options, "data": "folder", "root": "/somewhere/holiday photos"}))
    for folder, file in ((comparison, "comparison.json"), (run, "summary.json")):
        change(folder, file, data="folder")
        text = write_report(folder).read_text(encoding="utf-8")
        assert "<title>holiday photos: " in text
        assert "data set holiday photos" in Reader(text).text


def test_a_run_without_logs_or_pictures_or_options(run: Path) -> None:
    shutil.rmtree(run / "logs")
    (run / "config.yaml").unlink()
    for picture in run.glob("examples/test/*.png"):
        picture.unlink()
    page = read(run)
    assert page.sections == ["results", "gallery", "setting"]
    assert not page.all("img")


def test_hard_negatives_may_come_to_none(run: Path) -> None:
    """Zero has no logarithm, so the axis is linear near zero."""
    (run / "logs/csv/from_00000000/metrics.csv").write_text(
        "step,batch_negatives,memory_negatives\n9,3.0,120.0\n19,0.0,0.0\n29,0.5,nan\n", encoding="utf-8"
    )
    assert read(run).charts == ["Hard negatives per anchor"]
    none = "step,batch_negatives\n9,0.0\n19,0.0\n29,0.0\n"
    (run / "logs/csv/from_00000000/metrics.csv").write_text(none, encoding="utf-8")
    assert read(run).charts == ["Hard negatives per anchor"]


def test_a_curve_counts_steps_from_one_as_people_do(tmp_path: Path) -> None:
    """A value that was logged at step 9 belongs to the tenth step."""
    rates = [(9, 0.1), (19, 0.2), (29, 0.1)]
    arm = Arm("with memory", "with", "solid", [tmp_path], [{"lr": rates, "val/R@1": [(19, 0.5), (29, 0.6), (39, 0.5)]}])
    lines = {chart.heading: chart.lines[0].seeds for chart in charts([arm])}
    assert lines == {
        "Learning rate": [[(10, 0.1), (20, 0.2), (30, 0.1)]],
        "R@1 on the validation classes, %": [[(20, 50.0), (30, 60.0), (40, 50.0)]],
    }


def test_charts_of_one_or_two_points_are_left_out(tmp_path: Path) -> None:
    """A run of 200 steps measures drift once or twice, and its memory is full from the first log on."""
    logged = {
        "lr": [(9, 0.1), (19, 0.2), (29, 0.1)],
        "drift/10": [(99, 0.3), (199, 0.2)],
        "drift/100": [(199, 0.2)],
        "memory_rows": [(9, 200.0), (19, 200.0), (29, 200.0)],
    }
    arm = Arm("with memory", "with", "solid", [tmp_path], [logged])
    assert [chart.heading for chart in charts([arm])] == ["Learning rate"]
    logged |= {"drift/10": [(99, 0.3), (199, 0.2), (299, 0.1)], "memory_rows": [(9, 64.0), (19, 128.0), (29, 200.0)]}
    assert [chart.heading for chart in charts([arm])] == ["Learning rate", "Drift", "Rows in the memory"]


def test_a_run_too_short_for_charts_says_so(run: Path) -> None:
    (run / "logs/csv/from_00000000/metrics.csv").write_text("step,loss,lr\n9,1,0.1\n19,0.5,0.1\n", encoding="utf-8")
    page = read(run)
    assert "curves" in page.sections
    assert not page.charts
    assert "Training was too short for charts: no value was logged 3 times." in page.text


def test_bars_beside_a_picture_have_the_colour_of_the_page(text: str) -> None:
    """Thumbnails that are not square leave bars, in light and in dark."""
    assert "background: var(--paper)" in re.findall(r"\.thumb \{.*?\}", text)[0]


def test_long_logs_are_averaged(run: Path) -> None:
    lines = "".join(f"{step},{step % 7}.5\n" for step in range(9, 20_000, 10))
    (run / "logs/csv/from_00000000/metrics.csv").write_text("step,loss\n" + lines, encoding="utf-8")
    assert "Each point is the mean of 14 logged steps" in read(run).text


def test_errors_say_what_is_wrong(comparison: Path, run: Path, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="nowhere is not a folder: name the folder of a run, a comparison or a search"):
        write_report(tmp_path / "nowhere")
    (run / "summary.json").unlink()
    with pytest.raises(RunError, match=r"holds no finished run .*, comparison .* or search .*: let it finish"):
        write_report(run)
    (comparison / "comparison.json").write_text("{", encoding="utf-8")
    with pytest.raises(RunError, match=r"comparison\.json cannot be read"):
        write_report(comparison)
    (comparison / "comparison.json").write_text("{}", encoding="utf-8")
    with pytest.raises(RunError, match="names no arms: run the comparison again"):
        write_report(comparison)


def test_a_damaged_log_is_named(run: Path) -> None:
    (run / "logs/csv/from_00000000/metrics.csv").write_text("loss,step\nmuch,9\n", encoding="utf-8")
    with pytest.raises(RunError, match=r"logs cannot be read .*remove the damaged file"):
        write_report(run)


def test_a_line_cut_off_by_a_kill_is_left_out(run: Path) -> None:
    (run / "logs/csv/from_00000000/metrics.csv").write_text("loss,step\n0.5,9\n0.4\n", encoding="utf-8")
    assert runs.read_metrics(run) == {"loss": [(9, 0.5)]}
    assert write_report(run).is_file()


@pytest.mark.parametrize(("package", "module"), [("matplotlib", "matplotlib"), ("jinja2", "jinja2")])
def test_a_missing_package_is_named(run: Path, monkeypatch: pytest.MonkeyPatch, package: str, module: str) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtraError, match=rf"the report needs {package}: pip install .\.\[train\]"):
        write_report(run)


def test_a_run_shows_the_floor_what_the_network_sees_and_what_is_wrong(run: Path) -> None:
    before = {"validation R@1": 0.3, "training R@1": 0.25, "effective dimensions": 4.0}
    after = {"validation R@1": 0.2, "training R@1": 0.75, "effective dimensions": 17.26}
    told = f"training made it worse {HOSTILE}"
    floor = {"before_training": before, "after_training": after, "dim": 128, "warnings": [told]}
    change(run, "summary.json", **floor, memory_start=160, memory_start_reason="rows had moved 0.08 on average")
    Image.new("RGB", (20, 20)).save(run / runs.AUGMENTED)
    options = yaml.safe_load((run / runs.CONFIG).read_text())
    reason = "0 of 200 images looked at are without colour"
    kept = {**options, "augment": {"policy": "photo"}, "decided": {"augment.policy": reason}}
    (run / runs.CONFIG).write_text(yaml.safe_dump(kept))
    looks = [
        {"part": "test", "R@1": 0.4 + look / 10, "queries": 9, "before_training": {"R@1": 0.31}} for look in (0, 1)
    ]
    runs.write_json(run / runs.EVALUATIONS, looks)
    page = read(run)
    assert told in page.text
    assert f"Augmentation photo, chosen because {reason}." in page.text
    assert "25.00 % before training, 75.00 % after" in page.text
    assert "17.3 of 128" in page.text
    assert "step 160, when rows had moved 0.08 on average" in page.text
    assert page.text.count("test, before training") == 1
    assert "validation, before training" in page.text
    assert "augmented" in page.sections


def test_a_comparison_shows_what_there_was_before_training(comparison: Path) -> None:
    change(comparison, "comparison.json", before_training={"R@1": [0.3, 0.31, 0.32]}, warnings={"a run": ["collapsed"]})
    page = read(comparison)
    assert "before training" in page.text
    assert "31.00" in page.text
    assert "a run: collapsed" in page.text
