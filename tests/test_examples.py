"""Every example runs, and does what its first line says."""

import importlib.util
from pathlib import Path
from types import ModuleType

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


def test_plain_loop() -> None:
    before, after, rows = example("plain_loop").main(steps=4)
    assert 0 < before < 1
    assert 0 < after < 1
    assert rows == 4 * 16


def test_amp() -> None:
    losses, memory = example("amp").main(steps=4)
    assert len(losses) == 4
    assert finite(losses)
    assert len(memory) == 4 * 64
    assert memory.embeddings.dtype == torch.bfloat16


def test_gradient_accumulation() -> None:
    losses, memory = example("gradient_accumulation").main(steps=4)
    assert len(losses) == 4
    assert finite(losses)
    assert len(memory) == 4 * 2 * 32
    assert memory.steps.bincount().tolist() == [32] * 8  # each micro-batch once


def test_lightning_module() -> None:
    trained, restored = example("lightning_module").main(steps=3)
    assert len(trained) == 3 * 64
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


def test_text_encoder() -> None:
    before, after = example("text_encoder").main(steps=100)
    assert before + 0.05 < after < 1
