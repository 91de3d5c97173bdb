"""Tests that every example runs and does what its first line says."""

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest
import torch
from together import together

EXAMPLES = Path(__file__).parent.parent / "examples"


def example(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def finite(losses: list[float]) -> bool:
    return torch.tensor(losses).isfinite().all().item()


def test_there_is_a_test_for_each() -> None:
    tested = {name.removeprefix("test_") for name in globals()}
    assert {path.stem for path in EXAMPLES.glob("*.py")} <= tested


def test_imagefolder(pictures: Path) -> None:
    assert 0 < example("imagefolder").main(str(pictures), str(pictures), steps=8, classes=4, side=32, weights=None) <= 1


def test_hugging_face(pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", str(tmp_path))
    options = {"steps": 3, "classes": 4, "backbone": "test_resnet", "pretrained": False}
    losses, memory = example("hugging_face").main(str(pictures), **options)
    assert finite(losses)
    assert len(memory) == 3 * 16


def test_mixed_precision(pictures: Path) -> None:
    losses, memory = example("mixed_precision").main(str(pictures), steps=4, classes=4)
    assert len(losses) == 4
    assert finite(losses)
    assert len(memory) == 4 * 16
    assert memory.embeddings.dtype == torch.bfloat16


def test_gradient_accumulation(pictures: Path) -> None:
    losses, memory = example("gradient_accumulation").main(str(pictures), steps=2, classes=4)
    assert len(losses) == 2
    assert finite(losses)
    assert memory.steps.bincount().tolist() == [16] * 4  # each micro-batch is enqueued once


def test_lightning_module(pictures: Path) -> None:
    trained, restored = example("lightning_module").main(str(pictures), steps=3, classes=4)
    assert len(trained) == 3 * 16
    assert torch.equal(restored.embeddings, trained.embeddings)
    assert torch.equal(restored.ids, trained.ids)


def two_steps_together() -> list[torch.Tensor]:
    losses, memory = example("several_processes").main(steps=2)
    return [torch.tensor(losses), memory.labels, memory.embeddings]


def test_several_processes() -> None:
    one, other = together(2, two_steps_together)
    assert finite(one[0].tolist())
    assert len(one[1]) == 2 * 64
    assert all(torch.equal(left, right) for left, right in zip(one[1:], other[1:], strict=True))


def test_text_pairs() -> None:
    before, after = example("text_pairs").main(steps=150)
    assert before + 0.03 < after < 1


def test_none_imports_much_of_the_package() -> None:
    """An example shows what a user needs: at most two modules besides the package itself."""
    for path in EXAMPLES.glob("*.py"):
        modules = set(re.findall(r"^from (crossbatch\.[\w.]+) import", path.read_text(encoding="utf-8"), re.MULTILINE))
        assert len(modules) <= 2, path.name
