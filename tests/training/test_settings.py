"""Tests of settings: a round trip through plain values, and one sentence for each setting that cannot work."""

from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from crossbatch.errors import CrossBatchError, RunError, SettingError
from crossbatch.training.metric_learner import lr_factor
from crossbatch.training.settings import (
    FRESH_FROM_SCRATCH,
    FRESH_TRAINED,
    BatchSettings,
    LossSettings,
    MemorySettings,
    ModelSettings,
    OptimSettings,
    Settings,
)


def test_settings_survive_yaml() -> None:
    settings = Settings(
        data="folder",
        root=Path("/somewhere/photos"),
        fonts=[Path("/somewhere/fonts")],
        loss=LossSettings.named("contrastive", neg_margin=0.3, reduction="sum"),
        batch=BatchSettings(8, 3),
        memory=MemorySettings(size=100, dtype="bfloat16"),
        model=ModelSettings("bn_inception", pooling="gem", freeze_bn=True, train_stages=2, weights=Path("/w/bn.pth")),
        optim=OptimSettings(steps=7, lr=1e-5),
    )
    assert Settings.from_dict(yaml.safe_load(yaml.safe_dump(settings.as_dict()))) == settings


def test_trained_weights_want_fresher_rows() -> None:
    assert Settings().resolved().memory.stale == FRESH_FROM_SCRATCH
    for model in (ModelSettings("resnet50", pretrained=True), ModelSettings(weights=Path("/w/small.pth"))):
        assert Settings(model=model).resolved().memory.stale == FRESH_TRAINED
    assert Settings(memory=MemorySettings(stale=0.5)).resolved().memory.stale == 0.5


def test_options_of_before_there_were_so_many_take_the_defaults() -> None:
    plain = Settings().as_dict()
    for name in ("pooling", "freeze_bn", "train_stages", "weights"):
        del plain["model"][name]
    assert Settings.from_dict(plain) == Settings()


def test_options_of_another_version_are_named() -> None:
    with pytest.raises(RunError, match=r"does not fit this version.*colour"):
        Settings.from_dict({**Settings().as_dict(), "colour": "red"})
    with pytest.raises(RunError, match=r"does not fit this version"):
        Settings.from_dict({**Settings().as_dict(), "model": None})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"batch": BatchSettings(16, 4), "memory": MemorySettings(size=63)},
            "a memory of 63 rows is too small for batches of 64 images: .* at least 64",
        ),
        (
            {"model": ModelSettings("resnet50", pretrained=True, weights=Path("w.pth"))},
            "--model.weights both say what to start from: leave the weights out, or give",
        ),
    ],
)
def test_refuses_what_cannot_work(change: dict, message: str) -> None:
    with pytest.raises(CrossBatchError, match=message):
        replace(Settings(), **change).check()


def test_the_recommended_options_are_written_out_below_those_given() -> None:
    settings = Settings(loss=LossSettings.named("contrastive", room=0.9)).resolved()
    assert settings.loss.init_args == {"room": 0.9, "weigh": "cost"}
    assert settings.resolved() == settings
    assert Settings(recommended=False).resolved().loss.init_args == {}


def test_no_memory_at_all_is_fine() -> None:
    replace(Settings(), memory=MemorySettings(size=0)).check()


def test_the_learning_rate_falls_by_ten_at_each_milestone() -> None:
    optim = OptimSettings(steps=10, warmup=0, schedule="steps", milestones=[3, 6])
    assert [lr_factor(optim, step) for step in range(8)] == pytest.approx([1, 1, 1, 0.1, 0.1, 0.1, 0.01, 0.01])
    for wrong in (OptimSettings(schedule="steps"), OptimSettings(milestones=[3])):
        with pytest.raises(SettingError, match=r"--optim.milestones go with --optim.schedule steps"):
            Settings(optim=wrong).check()


def test_a_default_folder_is_named_by_the_images(tmp_path: Path) -> None:
    (tmp_path / "photos.csv").touch()
    (tmp_path / "shoes").mkdir()
    names = [
        Settings(root=root).name
        for root in (None, tmp_path / "photos.csv", tmp_path / "shoes", tmp_path / "shoes" / "..")
    ]
    assert names == ["glyphs", "photos", "shoes", tmp_path.name]


def test_a_kept_path_has_no_detours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in ("here", "photos", "far/inner"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "far" / "inner")
    monkeypatch.chdir(tmp_path / "here")
    kept = {given: Settings(root=Path(given), data="folder").as_dict()["root"] for given in ("../photos", "../link")}
    assert kept == {"../photos": f"{tmp_path}/photos", "../link": f"{tmp_path}/link"}
    beyond = Settings(root=tmp_path / "link" / ".." / "photos", data="folder").as_dict()["root"]
    assert beyond == f"{tmp_path}/link/../photos", "this is far/photos, and without .. it would be photos"
