"""Tests of the site: its code runs, its commands parse, every page is in the navigation, and its style rules hold."""

import doctest
import importlib.util
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

import crossbatch
from crossbatch.commands import COMMANDS, from_python
from crossbatch.commands.options import parse, parser_for

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
GENERATED = {"reference/commands.md", "reference/recipes.md"}
PAGES = {str(path.relative_to(DOCS)): path.read_text(encoding="utf-8") for path in sorted(DOCS.rglob("*.md"))}
WRITTEN = {name: text for name, text in PAGES.items() if name not in GENERATED}
README = (ROOT / "README.md").read_text(encoding="utf-8")
HISTORY = ("own batch included", "earlier default", "earlier form", "code before", "of then", "no longer")
PATHS = {"my_losses.Cubic": "crossbatch.ContrastiveLoss", "my_data.load": "crossbatch.data.folder.load"}


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def prose(text: str) -> str:
    """The sentences of a page: without code, tables, headings, link addresses and indented text."""
    text = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    text = re.sub(r"^(?:[|#!]| {4}).*$", "", text, flags=re.MULTILINE)
    return re.sub(r"\]\([^)]*\)", "]", text)


def words_per_sentence(text: str) -> float:
    parts = re.split(r"(?<=[.?!])[*_)]*\s+(?=[\"“*_`\[A-Z0-9])|\n\s*\n|\n(?:- |\d+\. )", prose(text))
    lengths = [len(part.split()) for part in parts if len(part.split()) > 2]
    return float(np.mean(lengths))


def test_the_pages_that_follow_from_the_code_are_of_this_code(tmp_path: Path) -> None:
    subprocess.run([sys.executable, ROOT / "scripts" / "reference.py", tmp_path], check=True)
    for name in GENERATED:
        assert (tmp_path / Path(name).name).read_text(encoding="utf-8") == PAGES[name], "outdated: run make docs"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with photos, and with other files that the pages assume."""
    draw = np.random.default_rng(0)
    for number in range(24):
        place = tmp_path / "photos" / f"class {number}"
        place.mkdir(parents=True)
        for i in range(4):
            Image.fromarray(draw.integers(0, 256, (16, 16, 3)).astype(np.uint8)).save(place / f"{i}.png")
    embeddings = draw.normal(size=(8, 4)).astype(np.float32)  # as `crossbatch embed --out rows.npz` writes them
    np.savez(tmp_path / "rows.npz", embedding=embeddings, label=np.repeat(["a", "b"], 4))
    (tmp_path / "runs" / "tuned").mkdir(parents=True)
    (tmp_path / "runs" / "tuned" / "best.yaml").write_text("optim:\n  lr: 0.003\n")  # as `crossbatch tune` writes it
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("page", [name for name, text in WRITTEN.items() if blocks(text, "python")])
@pytest.mark.usefixtures("folder")
def test_the_python_of_a_page_runs_from_top_to_bottom(page: str, monkeypatch: pytest.MonkeyPatch) -> None:
    short = {"optim": {"steps": 2}, "drift": {"sample": 0}, "batch": {"classes": 4}}
    train = crossbatch.train
    monkeypatch.setattr(crossbatch, "train", lambda root, **options: train(root, **{**options, **short}), raising=False)
    module = ModuleType("page")  # some definitions look up their module
    monkeypatch.setitem(sys.modules, "page", module)
    for block in blocks(WRITTEN[page], "python"):
        if "crossbatch.load(" in block or "model.onnx" in block:
            continue  # needs a trained run: test_readme.py runs it
        if "init_process_group" in block:
            continue  # needs torchrun: test_examples.py runs examples/several_processes.py
        exec(compile(block, page, "exec"), module.__dict__)


def test_a_data_set_of_ones_own_as_it_is_shown_divides_its_classes(folder: Path) -> None:
    block = next(block for block in blocks(PAGES["how-to/extend.md"], "python") if "DataSet(" in block)
    names: dict = {}
    exec(block, names)
    for number, path in enumerate(sorted(folder.rglob("*.png"))):
        path.rename(folder / f"c{number // 4}-{number % 4}.png")
    loaded = names["load"](folder, crossbatch.data.split.Split())
    assert (len(loaded.train), len(loaded.validation), len(loaded.query)) == (56, 12, 28)
    assert loaded.images.read(int(loaded.query.ids[0])).size == (16, 16)


def command_lines() -> Iterator[tuple[str, str]]:
    for page, text in {**WRITTEN, "README.md": README}.items():
        for block in blocks(text, "sh"):
            for line in block.replace("\\\n", " ").splitlines():
                if line.startswith("crossbatch "):
                    yield page, line
        for line in re.findall(r"`(crossbatch [a-z]+ [^`\n]+)`", text):
            yield page, line


@pytest.mark.parametrize(("page", "line"), sorted(set(command_lines())))
@pytest.mark.usefixtures("folder")
def test_a_command_of_a_page_is_one_that_parses(page: str, line: str) -> None:
    name, *words = shlex.split(line, comments=True)[1:]
    if name == "COMMAND" or "--help-all" in words or any(word.startswith("--loss.help") for word in words):
        assert name in {*COMMANDS, "COMMAND"}
        return
    parse(name, [PATHS.get(word, word) for word in words])


def test_every_page_is_in_the_navigation_and_every_entry_is_a_page() -> None:
    def entries(nav: object) -> Iterator[str]:
        if isinstance(nav, str):
            yield nav
        for one in nav if isinstance(nav, list) else nav.values() if isinstance(nav, dict) else ():
            yield from entries(one)

    listed = set(entries(yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))["nav"]))
    assert listed - GENERATED == set(WRITTEN)


def test_every_public_name_has_its_page() -> None:
    told = set(re.findall(r"^::: crossbatch\.(\w+)$", "\n".join(WRITTEN.values()), re.MULTILINE))
    assert told == set(crossbatch.__all__)


@pytest.fixture(scope="module")
def reference() -> ModuleType:
    spec = importlib.util.spec_from_file_location("reference_script", ROOT / "scripts" / "reference.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_command_and_option_is_in_the_reference(reference: ModuleType) -> None:
    page = "\n".join(reference.commands())
    for name in COMMANDS:
        assert f"\n## crossbatch {name}\n" in page
        for action in parser_for(name)._actions:
            hidden = action.dest == "print_config" or reference._is_file_of_a_group(action)
            shown = [option for option in action.option_strings if not option.endswith("+")]
            assert hidden or action.help == "==SUPPRESS==" or all(f"`{option}`" in page for option in shown), action
    headings = re.findall(r"^#+ .*$", page, re.MULTILINE)
    assert len(headings) == len(set(headings))
    told = re.findall(r"^\| `[^|]*` \| ([^|]*) \|", page, re.MULTILINE)
    assert len(told) > 100
    assert all(len(sentence.split()) > 1 for sentence in told)


@pytest.mark.parametrize("page", [*WRITTEN, "README.md"])
def test_a_page_needs_no_history(page: str) -> None:
    text = README if page == "README.md" else WRITTEN[page]
    for words in HISTORY:
        assert words not in " ".join(text.split()), words


@pytest.mark.parametrize("page", [name for name in WRITTEN if not name.startswith(("reference/", "research/"))])
def test_a_page_is_short(page: str) -> None:
    assert len(WRITTEN[page].split()) <= 1500


@pytest.mark.parametrize("page", ["README.md", *(name for name in WRITTEN if name.startswith("tutorials/"))])
def test_sentences_are_short(page: str) -> None:
    assert words_per_sentence(README if page == "README.md" else WRITTEN[page]) < 20


def test_an_example_of_a_docstring_is_a_section_that_the_site_shows_as_code() -> None:
    singular = [
        path for path in (ROOT / "src").rglob("*.py") if re.search(r"^ *Example:$", path.read_text(), re.MULTILINE)
    ]
    assert singular == []  # the site builder knows only `Examples:`


@pytest.mark.parametrize("name", crossbatch.__all__)
def test_the_example_of_a_public_name_runs(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crossbatch, "train", lambda root, **options: {"root": root, **options}, raising=False)
    monkeypatch.setattr(crossbatch, "compare", lambda root, **options: {"root": root, **options}, raising=False)
    memory = crossbatch.CrossBatchMemory(64, 128)
    around = {
        **{one: getattr(crossbatch, one) for one in crossbatch.__all__},
        "crossbatch": crossbatch,
        "torch": torch,
        "normalize": torch.nn.functional.normalize,
        "memory": memory,
        "embeddings": torch.randn(8, 128),
        "labels": torch.arange(8) // 2,
        "ids": torch.arange(8),
        "step": 0,
        "model": torch.nn.Linear(4, 128),
        "probe": torch.randn(256, 4),
        "images": torch.randn(8, 4),
    }
    around["loss_fn"] = crossbatch.CrossBatchLoss(crossbatch.ContrastiveLoss(), memory)
    found = {"train": from_python.train, "compare": from_python.compare}.get(name) or getattr(crossbatch, name)
    for test in doctest.DocTestFinder().find(found, name, module=False, globs=around):
        if name in ("load", "Encoder"):
            continue  # needs a trained run
        runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
        runner.run(test)
        assert runner.failures == 0


def test_pictures_are_there_and_figures_are_shown() -> None:
    """The site builder checks links to pages but not links to images."""
    shown = {
        (DOCS / page).parent.joinpath(place).resolve()
        for page, text in WRITTEN.items()
        for place in re.findall(r"!\[[^\]]*\]\((?!https?:)([^)]+)\)", text)
    }
    assert all(path.is_file() for path in shown), shown
    assert set((DOCS / "figures").iterdir()) <= shown
