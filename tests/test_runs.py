"""Tests of the format that the files of a run folder state, and of files with an unknown format."""

import json
from multiprocessing import get_context
from pathlib import Path

import pytest
import yaml

from crossbatch import runs
from crossbatch.errors import RunError
from crossbatch.models import checkpoint
from crossbatch.models.embedder import build


def test_every_file_has_its_format_and_is_read_without_it(tmp_path: Path) -> None:
    runs.create(tmp_path / "run", {"seed": 3}, {"name": "glyphs", "fingerprint": "f"})
    assert yaml.safe_load((tmp_path / "run/config.yaml").read_text())["format"] == 1
    assert json.loads((tmp_path / "run/data.json").read_text())["format"] == 1
    assert runs.read_config(tmp_path / "run") == {"seed": 3}
    assert runs.read_json(tmp_path / "run/data.json") == {"name": "glyphs", "fingerprint": "f"}
    runs.write_json(tmp_path / "list.json", [1, 2])
    assert json.loads((tmp_path / "list.json").read_text()) == {"format": 1, "rows": [1, 2]}
    assert runs.read_json(tmp_path / "list.json") == [1, 2]


def test_files_of_before_there_were_formats_are_read(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("seed: 3\n")
    (tmp_path / "list.json").write_text("[1, 2]")
    (tmp_path / "data.json").write_text('{"name": "glyphs"}')
    assert runs.read_config(tmp_path) == {"seed": 3}
    assert runs.read_json(tmp_path / "list.json") == [1, 2]
    assert runs.read_json(tmp_path / "data.json") == {"name": "glyphs"}


def test_another_format_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("format: 2\n")
    (tmp_path / "data.json").write_text('{"format": 2}')
    with pytest.raises(RunError, match=r"config.yaml has format 2 and this version reads 1"):
        runs.read_config(tmp_path)
    with pytest.raises(RunError, match=r"data.json has format 2 and this version reads 1"):
        runs.read_json(tmp_path / "data.json")


def test_a_model_has_its_format_too(tmp_path: Path) -> None:
    described = checkpoint.Description("small", 4, 3, {}, [])
    checkpoint.save(tmp_path, build("small", 4, 3), described)
    assert checkpoint.load(tmp_path)[1] == described
    file = tmp_path / "model.json"
    plain = json.loads(file.read_text())
    assert plain["format"] == 1
    file.write_text(json.dumps({name: value for name, value in plain.items() if name != "format"}))
    assert checkpoint.load(tmp_path)[1] == described
    file.write_text(json.dumps({**plain, "format": 2}))
    with pytest.raises(RunError, match=r"model.json has format 2 and this version reads 1"):
        checkpoint.load(tmp_path)


def test_a_table_keeps_six_digits_of_a_number_and_all_of_a_count(tmp_path: Path) -> None:
    runs.write_table(tmp_path / "table.csv", [{"step": 1_234_567, "distance": 0.123456789}])
    assert runs.read_table(tmp_path / "table.csv") == [{"step": "1234567", "distance": "0.123457"}]


@pytest.mark.parametrize(
    ("files", "way_on"),
    [
        (["config.yaml", "checkpoints/last.ckpt"], "go on with train --resume '{}', "),
        (["config.yaml", "comparison.json"], "see the comparison that it holds with crossbatch report '{}', "),
        (["config.yaml"], "go on with crossbatch compare --out '{}' and the options that it began with, "),
        (["search.json"], "go on with crossbatch tune --out '{}' and the options that it began with, "),
        (["search.json", "tuning.json"], "go on with crossbatch tune --out '{}' and the options that it began with, "),
        (["config.yaml", "checkpoints/other"], ""),
        (["precious"], ""),
    ],
)
def test_what_to_do_with_a_folder_that_is_used_is_told_by_what_it_holds(
    files: list[str], way_on: str, tmp_path: Path
) -> None:
    out = tmp_path / "an out"
    for file in files:
        (out / file).parent.mkdir(parents=True, exist_ok=True)
        (out / file).touch()
    with pytest.raises(RunError) as told:
        runs.refuse_used(out)
    assert str(told.value) == f"{out} is not empty: name another --out, {way_on.format(out)}or remove it"


def test_looks_are_counted_for_each_part_by_itself(tmp_path: Path) -> None:
    parts = ("test", "validation", "test", "validation", "test")
    assert [runs.add_evaluation(tmp_path, {"part": part}) for part in parts] == [1, 1, 2, 2, 3]
    assert [look["look"] for look in runs.read_evaluations(tmp_path)] == [1, 1, 2, 2, 3]


def _look(run: Path, part: str, times: int) -> None:
    for _ in range(times):
        runs.add_evaluation(run, {"part": part})


def test_no_look_is_lost_where_several_processes_evaluate(tmp_path: Path) -> None:
    looking = [get_context("fork").Process(target=_look, args=(tmp_path, part, 10)) for part in ("test", "test", "dev")]
    for process in looking:
        process.start()
    for process in looking:
        process.join()
    looks = [one["look"] for one in runs.read_evaluations(tmp_path) if one["part"] == "test"]
    assert looks == list(range(1, 21))
