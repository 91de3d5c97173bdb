"""Tests of the README: its code runs, its commands work, its links lead somewhere, and it stays short."""

import json
import re
import shlex
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import crossbatch
from crossbatch.__main__ import main
from crossbatch.data.transforms import Preprocessing

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
MODEL_PAGE = (ROOT / "docs" / "how-to" / "use-a-model.md").read_text(encoding="utf-8")
CODE = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
COMMANDS = [shlex.split(line, comments=True)[1:] for line in re.findall(r"^    (crossbatch .*)$", README, re.MULTILINE)]
SMALL = ["--optim.steps=4", "--model.dim=8", "--model.image_size=16", "--loop.accelerator=cpu", "--drift.sample=0"]


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Forty classes of four small pictures in `photos/` of the working directory, and some pictures beside it."""
    draw = np.random.default_rng(0)

    def picture(path: Path) -> None:
        Image.fromarray(draw.integers(0, 256, (16, 16, 3)).astype(np.uint8)).save(path)

    for number in range(40):
        folder = tmp_path / "photos" / f"class {number}"
        folder.mkdir(parents=True)
        for i in range(4):
            picture(folder / f"{i}.png")
    for name in ("photo.jpg", "a.jpg", "b.jpg"):
        picture(tmp_path / name)
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("photos")
def test_from_python_it_trains() -> None:
    names: dict = {}
    exec(CODE[0].replace("4000", "4").replace("loss=", "drift={'sample': 0}, model={'dim': 8}, loss="), names)
    assert names["summary"]["steps"] == 4


def test_the_loop_runs() -> None:
    model = nn.Linear(6, 128)
    before = model.weight.detach().clone()
    labels = torch.arange(100) % 20
    names = {
        "model": model,
        "labels": labels,
        "dataset": TensorDataset(torch.randn(100, 6), labels, torch.arange(100)),
        "DataLoader": DataLoader,
        "optimizer": torch.optim.SGD(model.parameters(), 0.1),
    }
    exec(CODE[2].replace("5000", "3"), names)
    assert len(names["memory"]) == 3 * 64
    assert not torch.equal(model.weight, before)


def test_there_is_no_other_code() -> None:
    assert len(CODE) == 3
    told = ["train", "evaluate", "serve", "report", "search", "embed", "export", "compare"]
    assert [words[0] for words in COMMANDS] == told


@pytest.mark.usefixtures("photos")
def test_the_commands_work_one_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """The model page works with the resulting model. `serve` is left out: it does not end, and has its own tests."""
    monkeypatch.setattr("crossbatch.index.projection.FEW", 10**6)  # use PCA for the map: UMAP takes long to compile
    for words in COMMANDS:
        if words[0] == "serve":
            continue
        small = SMALL if words[0] in ("train", "compare") else []
        once = ["--seeds", "1", "--learning_rates", "[0.001]"] if words[0] == "compare" else []
        assert main([*words, *small, *once]) == 0
    assert Path("runs/photos/report.html").is_file()
    Path("runs/photos/model.onnx").rename("model.onnx")
    assert main(["embed", "runs/photos", "photos", "--out", "rows.npz"]) == 0  # the page says so
    names: dict = {}
    for block in [CODE[1], *re.findall(r"```python\n(.*?)```", MODEL_PAGE, re.DOTALL)]:
        exec(block, {"crossbatch": crossbatch} | names, names)
    assert names["vectors"].shape == (2, 8)
    assert names["vectors"].dtype == np.float32
    assert names["rows"].shape == (1, 8)


class Session:
    """An ONNX session that returns its input, for a model with input size `size`."""

    size = (32, 32)

    def __init__(self, path: str) -> None:
        pass

    def get_modelmeta(self) -> SimpleNamespace:
        told = {"preprocessing": {"resize": min(self.size) * 8 // 7}}
        return SimpleNamespace(custom_metadata_map={"crossbatch": json.dumps(told)})

    def get_inputs(self) -> list[SimpleNamespace]:
        return [SimpleNamespace(shape=["batch", *self.size, 3])]

    def run(self, names: list[str], given: dict[str, np.ndarray]) -> list[np.ndarray]:
        return [given["images"]]


@pytest.mark.parametrize("size", [(32, 32), (24, 48), (48, 24)])
@pytest.mark.parametrize("shape", [(90, 60), (60, 90), (70, 70)])
def test_without_crossbatch_a_picture_comes_to_an_onnx_model_as_the_run_shows_it(
    size: tuple[int, int], shape: tuple[int, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Session, "size", size)
    monkeypatch.setitem(sys.modules, "onnxruntime", SimpleNamespace(InferenceSession=Session))
    rise = np.add.outer(np.arange(shape[1]), 2 * np.arange(shape[0]))
    picture = Image.fromarray(np.stack([rise, rise, 255 - rise], -1).clip(0, 255).astype(np.uint8))
    picture.save("a.jpg", quality=100)
    names: dict = {}
    exec(
        next(block for block in re.findall(r"```python\n(.*?)```", MODEL_PAGE, re.DOTALL) if "Session" in block), names
    )
    sees = Preprocessing(size, min(size) * 8 // 7, 3, (0.5,) * 3, (0.5,) * 3)
    shown = sees.pixels([sees.look(*shape).of(Image.open("a.jpg"))])[0].permute(1, 2, 0)
    assert names["rows"].shape == (1, *size, 3)
    assert np.abs(names["rows"][0].astype(float) - shown.numpy()).mean() < 4


def test_options_that_are_named_exist(capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("train", "compare", "embed", "export"):
        assert main([command, "--help-all"]) == 0
    known = capsys.readouterr().out
    for option in re.findall(r"(--[a-z_]+(?:\.[a-z_]+)?)", README):
        assert option in known or option == "--help"


def test_links_lead_to_files_that_are_there() -> None:
    links = re.findall(r"https://(?:github|raw\.githubusercontent)\.com/crossbatch/crossbatch/(\S+?)\)", README)
    assert len(links) > 5
    for link in links:
        path = re.sub(r"^(?:blob/|tree/)?main/", "", link)
        assert (ROOT / path).exists() or path == "docs/search-page.png", link
    assert not re.search(r"\]\((?!https://)", README)


def test_it_is_short_and_its_two_commands_are_targets() -> None:
    assert len(README.split()) <= 900
    for target in ("demo", "test"):
        assert f"    make {target} " in README
        assert f"\n{target}: " in (ROOT / "Makefile").read_text()
