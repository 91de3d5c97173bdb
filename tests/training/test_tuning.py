"""Tests of the search of `tune`: alike in both arms, within its budget, resumable after a kill, without test data."""

from collections.abc import Callable
from io import StringIO
from pathlib import Path

import optuna
import pytest
from rich.console import Console

from crossbatch import runs
from crossbatch.commands.options import parse
from crossbatch.commands.tune import show
from crossbatch.errors import DivergedError, RunError, SettingError
from crossbatch.report import write_report
from crossbatch.training import comparison, halving
from crossbatch.training.comparable import WITH, WITHOUT
from crossbatch.training.comparison import compare
from crossbatch.training.halving import Budget, Space, best_of, shortened, value_of
from crossbatch.training.settings import LoopSettings, LossSettings, MemorySettings, OptimSettings, Settings
from crossbatch.training.step_cost import StepCost
from crossbatch.training.tuning import tune

Quick = Callable[..., Settings]
SPACE = Space(("contrastive", "sup-con"), ("none", "drawn"), (1e-3, 1e-1), (0.7, 1.0))


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Settings]]:
    """Replace training: a run validates by how near its rate is to 0.01, and supervised contrastive is best."""
    ran: list[tuple[str, Settings]] = []

    def run(settings: Settings, loaded: object, folder: Path, console: Console) -> None:
        ran.append((folder.name, settings))
        folder.mkdir(parents=True)
        off = max(settings.optim.lr / 0.01, 0.01 / settings.optim.lr)
        score = (settings.loss.name == "sup-con") / 2 + 0.4 / off + 0.05 * (settings.memory.size != 0)
        summary = {"best_validation_R@1": score, "steps": settings.optim.steps, "training_seconds": 1.0}
        runs.write_json(folder / runs.SUMMARY, summary)

    monkeypatch.setattr(halving, "train_once", run)
    return ran


def test_both_arms_are_searched_alike_and_the_best_third_goes_on(
    trained: list[tuple[str, Settings]], quick: Quick, tmp_path: Path, console: Console
) -> None:
    result = tune(quick(steps=90), tmp_path / "t", console, SPACE, Budget(90 * 16))
    assert [arm["name"] for arm in result["arms"]] == [WITHOUT, WITH]
    assert all(720 - 130 <= arm["steps"] <= 720 for arm in result["arms"])
    first = [[one[:2] for one in _recipes(trained, arm)][:5] for arm in ("without-memory", "with-memory")]
    assert first[0] == first[1]  # the same recipes, until their results decide the next ones
    for arm in result["arms"]:
        steps = [one["steps"] for one in arm["recipes"]]
        assert set(steps) == {10, 30, 90}
        assert steps.count(10) > len(steps) / 2
        whole = [one["validation R@1"] for one in arm["recipes"] if one["steps"] == 90]
        assert max(whole) == max(one["validation R@1"] for one in arm["recipes"])
    winner = result["winner"]
    assert winner["arm"] == WITH
    assert winner["loss"]["class_path"] == "crossbatch.SupConLoss"
    assert {settings.memory.size for name, settings in trained if name.startswith("without")} == {0}
    assert {path.name for path in (tmp_path / "t").iterdir() if path.is_dir()} == {
        name for name, settings in trained if settings.optim.steps == 90
    }


def test_the_least_budget_that_is_taken_pays_for_one_recipe_to_its_end_in_each_arm(
    trained: list[tuple[str, Settings]], quick: Quick, tmp_path: Path, console: Console
) -> None:
    result = tune(quick(steps=90), tmp_path / "t", console, SPACE, Budget(260))
    assert [(arm["steps"], [one["steps"] for one in arm["recipes"]]) for arm in result["arms"]] == [(130, [90])] * 2


def test_of_recipes_with_equal_recall_the_better_ranking_wins_and_then_the_first() -> None:
    pairs = [(0.5, 0.4), (0.5, 0.41), (0.5, 1.0), (0.50001, 0.0)]
    values = [value_of({"validation R@1": recall, "validation MAP@R": ranking}) for recall, ranking in pairs]
    assert sorted(set(values)) == values
    study = optuna.create_study(direction="maximize")
    for value in (0.3, 0.7, 0.7):
        study.tell(study.ask(), value)
    assert best_of(study).number == 1


def test_a_search_tells_what_is_wrong_with_its_runs(
    quick: Quick, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the memory never counted, both arms are the same, and the table alone does not show it."""

    def run(settings: Settings, data: object, folder: Path, console: Console) -> None:
        folder.mkdir(parents=True)
        on = settings.optim.steps == 90 and settings.optim.lr > 1e-3
        summary = {"best_validation_R@1": 0.5 + settings.optim.lr, "steps": settings.optim.steps}
        told = {"memory_steps": 50 * on, "warnings": ["embeddings have collapsed"], "training_seconds": 1.0}
        runs.write_json(folder / runs.SUMMARY, summary | told)

    monkeypatch.setattr(halving, "train_once", run)
    result = tune(quick(steps=90), tmp_path / "t", Console(file=StringIO()), SPACE, Budget(90 * 16))
    recipes = result["arms"][1]["recipes"]
    never = sum(one["memory_steps"] == 0 for one in recipes)
    assert 0 < never < len(recipes)
    console = Console(file=StringIO(), width=200)
    show(console, {**result, "command": "crossbatch train"}, "photos")
    said = console.file.getvalue()
    assert f"warning: the memory never counted in {never} of {len(recipes)} recipes with memory" in said
    assert said.count("warning: best with memory: embeddings have collapsed") == 1


def test_a_search_has_a_report(
    trained: list[tuple[str, Settings]], quick: Quick, tmp_path: Path, console: Console
) -> None:
    folder = tmp_path / "t"
    result = tune(quick(steps=90), folder, console, SPACE, Budget(90 * 16))
    page = write_report(folder).read_text(encoding="utf-8")
    rows = page[page.index('<section id="results">') :].count("<tr>")
    assert rows == 1 + sum(len(arm["recipes"]) for arm in result["arms"])
    assert f"{100 * result['winner']['validation R@1']:.2f} %" in page
    assert f"crossbatch compare --config {folder / 'best.yaml'}" in page
    assert "Queries and what was found" not in page
    kept = runs.read_json(folder / runs.TUNING)
    for damaged in ({"arms": [{}], "validation": {}}, {**kept, "winner": {"arm": "?"}}, {**kept, "arms": "abc"}):
        runs.write_json(folder / runs.TUNING, damaged)
        with pytest.raises(RunError, match=r"tuning\.json is damaged: run the search again"):
            write_report(folder)


def _recipes(trained: list[tuple[str, Settings]], arm: str) -> list[tuple[str, float]]:
    short = [settings for name, settings in trained if name.startswith(arm) and settings.optim.steps == 10]
    return [(settings.loss.name, settings.optim.lr) for settings in short]


def test_a_search_that_is_killed_anywhere_ends_where_a_straight_one_does(
    trained: list[tuple[str, Settings]], quick: Quick, tmp_path: Path, console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, budget = quick(steps=18), Budget(18 * 6)
    straight = tune(settings, tmp_path / "straight", console, SPACE, budget)
    expected, run = list(trained), halving.train_once
    for kill in (1, 4, len(expected) - 1):
        left = [kill]

        def killed(*given: object, left: list[int] = left) -> None:
            left[0] -= 1
            if left[0] < 0:
                raise SystemError("killed")
            run(*given)

        trained.clear()
        monkeypatch.setattr(halving, "train_once", killed)
        with pytest.raises(SystemError, match="killed"):
            tune(settings, tmp_path / f"{kill}", console, SPACE, budget)
        monkeypatch.setattr(halving, "train_once", run)
        result = tune(settings, tmp_path / f"{kill}", console, SPACE, budget)
        assert trained == expected
        assert result["arms"] == straight["arms"]
    trained.clear()
    more = tune(settings, tmp_path / "straight", console, SPACE, Budget(18 * 9))
    assert trained
    assert more["arms"][0]["steps"] > straight["arms"][0]["steps"]
    with pytest.raises(RunError, match="holds another search, or of other options"):
        tune(settings, tmp_path / "straight", console, Space(("nca",), ("none",), (1e-3, 1e-1), (0.7,)), budget)


def test_a_recipe_that_diverges_loses_and_minutes_end_a_search(
    quick: Quick, tmp_path: Path, console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(settings: Settings, loaded: object, folder: Path, console: Console) -> None:
        folder.mkdir(parents=True)
        if settings.optim.lr > 0.004:
            raise DivergedError("not finite")
        summary = {"best_validation_R@1": 0.5, "steps": settings.optim.steps, "training_seconds": 60.0}
        runs.write_json(folder / runs.SUMMARY, summary)

    monkeypatch.setattr(halving, "train_once", run)
    result = tune(quick(steps=9), tmp_path / "t", console, SPACE, Budget(0, minutes=20))
    assert [600 <= arm["seconds"] <= 661 for arm in result["arms"]] == [True, True]
    assert {one["validation R@1"] for arm in result["arms"] for one in arm["recipes"]} == {0.5, 0.0}
    assert result["winner"]["optim"]["lr"] <= 0.004
    assert result["winner"]["arm"] == WITHOUT  # without memory wins a tie


def test_train_and_compare_take_the_best_recipe(
    quick: Quick, tmp_path: Path, console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They really train and compare: each arm has the loss and the rate found for it."""
    out = tmp_path / "t"
    found = tune(quick(steps=9, start=3), out, console, SPACE, Budget(9 * 3))
    assert not list(out.rglob(runs.EVALUATIONS))
    assert found == runs.read_json(out / runs.TUNING)
    settings: Settings = parse("train", ["--config", str(out / "best.yaml")])[0]["settings"]
    assert settings.loss.class_path == found["winner"]["loss"]["class_path"]
    assert settings.optim == OptimSettings(steps=9, warmup=2, lr=found["winner"]["optim"]["lr"])
    assert (settings.memory.size == 0) == (found["winner"]["arm"] == WITHOUT)
    options = parse("compare", ["--config", str(out / "best.yaml"), "--seeds", "1"])[0]
    monkeypatch.setattr(comparison, "measure", lambda *arms, start: StepCost(1.0, 1.0))
    result = compare(options["settings"], tmp_path / "c", console, seeds=1, equal_time=False, own=options["arms"])
    for arm in result["arms"]:
        own = runs.read_config(tmp_path / "c" / arm["runs"][0])
        assert own["loss"] == options["arms"][arm["name"]]["loss"]
        assert own["augment"]["policy"] == options["arms"][arm["name"]]["augment"]["policy"]
        assert arm["lr"] == options["arms"][arm["name"]]["optim"]["lr"]
    assert [arm["memory_rows"] > 0 for arm in result["arms"]] == [False, True]
    for wrong in (
        {WITH: {}},
        {WITH: {}, WITHOUT: {"optim": {"colour": 1}}},
        {WITH: {}, WITHOUT: {"optim": {"lr": "x"}}},
    ):
        with pytest.raises(SettingError, match="--arms are"):
            compare(options["settings"], tmp_path / "d", console, own=wrong)


def test_a_shorter_run_is_the_same_one_in_small(quick: Quick) -> None:
    optim = OptimSettings(steps=900, warmup=90, schedule="steps", milestones=[300, 600])
    short = shortened(quick(optim=optim, memory=MemorySettings(start=450)), 100)
    assert short.optim == OptimSettings(steps=100, warmup=10, schedule="steps", milestones=[33, 67])
    assert short.memory.start == 50


@pytest.mark.parametrize(
    ("change", "space", "budget", "message"),
    [
        ({}, SPACE, Budget(100), r"--budget 100 is too small: one recipe, .* takes 260 steps"),
        ({"memory": MemorySettings(size=0)}, SPACE, Budget(900), "both arms are searched, without memory and with it"),
        ({}, Space(("nca",), ("none",), (0.1, 0.01), (0.7,)), Budget(900), "the lowest and the highest"),
        ({}, Space(("nca",), ("none",), (0.1, float("inf")), (0.7,)), Budget(900), "the lowest and the highest"),
        (
            {},
            Space(("nca",), ("none",), (0.01, 0.1), (0.7, 1.5)),
            Budget(900),
            "room is a cosine, above -1 and at most",
        ),
        ({}, Space(("contrastive",), ("none",), (0.01, 0.1), (0.4,)), Budget(900), "neg_margin is a cosine"),
        ({}, Space(("torch.nn.Linear",), ("none",), (0.01, 0.1), (0.7,)), Budget(900), "does not take"),
        ({"memory": MemorySettings(start=90)}, SPACE, Budget(900), "--memory.start 90 must be below --optim.steps 90"),
        ({"loop": LoopSettings(devices=2)}, SPACE, Budget(900), "tune runs in one process"),
    ],
)
def test_what_cannot_be_searched_is_refused_before_a_folder_is_made(
    change: dict, space: Space, budget: Budget, message: str, quick: Quick, tmp_path: Path, console: Console
) -> None:
    with pytest.raises(SettingError, match=message):
        tune(quick(steps=90, **change), tmp_path / "t", console, space, budget)
    assert not (tmp_path / "t").exists()


def test_options_of_the_loss_that_is_named_are_kept(
    trained: list[tuple[str, Settings]], quick: Quick, tmp_path: Path, console: Console
) -> None:
    settings = quick(steps=9, loss=LossSettings.named("sup-con", temperature=0.2))
    tune(settings, tmp_path / "t", console, SPACE, Budget(9 * 8))
    given = {(one.loss.name, one.loss.init_args.get("temperature")) for _, one in trained}
    assert given == {("sup-con", 0.2), ("contrastive", None)}
    assert {one.loss.init_args["room"] for _, one in trained} == {0.7, 1.0}
    assert all(one.loss.init_args.get("weigh") == "cost" for _, one in trained if one.loss.name == "contrastive")


def test_a_room_that_is_given_is_not_searched_and_one_is_searched_only_where_one_is_recommended(
    trained: list[tuple[str, Settings]], quick: Quick, tmp_path: Path, console: Console
) -> None:
    settings = quick(steps=9, loss=LossSettings.named("sup-con", room=0.9))
    space = Space(("sup-con", "multi-similarity"), ("none",), (1e-3, 1e-1), (0.7, 1.0))
    tune(settings, tmp_path / "t", console, space, Budget(9 * 8))
    given = {(one.loss.name, one.loss.init_args.get("room")) for _, one in trained}
    assert given == {("sup-con", 0.9), ("multi-similarity", None)}
