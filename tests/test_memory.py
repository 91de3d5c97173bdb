"""Tests that the memory equals a deque after any sequence of enqueuing, saving and restoring."""

from collections import deque
from copy import deepcopy

import pytest
import torch
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from torch import nn
from torch.nn.functional import normalize

from crossbatch import CrossBatchMemory
from crossbatch.errors import SettingError, ShapeError

DIM = 4


def rows_of(first: int, n: int) -> torch.Tensor:
    """Unit-length rows that depend only on `first`, so that each row can be recognised."""
    return normalize(torch.randn(n, DIM, generator=torch.Generator().manual_seed(first)))


class MemoryMachine(RuleBasedStateMachine):
    """Every rule does the same to a memory and to a list of (label, id, step, row) that acts as a deque."""

    @initialize(
        size=st.integers(1, 9), dtype=st.sampled_from([torch.float32, torch.bfloat16, torch.float16]), big=st.booleans()
    )
    def start(self, size: int, dtype: torch.dtype, big: bool) -> None:
        self.memory = CrossBatchMemory(size, DIM, dtype=dtype)
        self.model: list[tuple[int, int, int, torch.Tensor]] = []
        self.size, self.dtype, self.next, self.batches = size, dtype, 2**60 if big else 0, 0

    @rule(
        n=st.integers(0, 14),
        known=st.booleans(),
        step=st.none() | st.integers(0, 5),
        half=st.booleans(),
        unsound=st.none() | st.tuples(st.integers(0, 13), st.sampled_from([torch.nan, torch.inf, -torch.inf])),
    )
    def enqueue(self, n: int, known: bool, step: int | None, half: bool, unsound: tuple[int, float] | None) -> None:
        labels, rows = torch.arange(self.next, self.next + n), rows_of(self.next, n)
        rows = rows.half() if half else rows
        if unsound is not None:
            rows[unsound[0] : unsound[0] + 1, 0] = unsound[1]
        ids = labels % 5 if known else None
        slots = self.memory.enqueue(rows * 3, labels, ids=ids, step=step)
        self.next += n
        written = self.batches if step is None else step
        stored = normalize((rows * 3).float()).to(self.dtype)
        self.model += [
            (int(label), int(label) % 5 if known else -1, written, row)
            for label, row in zip(labels, stored, strict=True)
        ]
        self.model = list(deque(self.model, maxlen=self.size))
        self.batches += 1
        kept = slots >= 0
        sound = rows.isfinite().all(1).tolist()
        assert kept.tolist() == [i >= n - self.size and sound[i] for i in range(n)]
        assert torch.equal(self.memory._labels[slots[kept]], labels[kept])

    @rule()
    def checkpoint(self) -> None:
        restored = CrossBatchMemory(self.size, DIM, dtype=self.dtype)
        restored.load_state_dict(deepcopy(self.memory.state_dict()))
        self.memory = restored

    @rule()
    def reset(self) -> None:
        self.memory.reset()
        self.model, self.batches = [], 0

    @property
    def sound(self) -> list[tuple[int, int, int, torch.Tensor]]:
        """The finite rows. A row that is not finite takes a slot like any other row, but never counts."""
        return [row for row in self.model if row[3].isfinite().all()]

    @invariant()
    def holds_what_the_deque_holds(self) -> None:
        memory, model = self.memory, self.sound
        held = zip(memory.labels.tolist(), memory.ids.tolist(), memory.steps.tolist(), memory.embeddings, strict=True)
        held = sorted(held, key=lambda row: row[0])
        assert len(memory) == len(model)
        assert [row[:3] for row in held] == [row[:3] for row in model]
        assert all(torch.equal(a[3], b[3]) for a, b in zip(held, model, strict=True))

    @invariant()
    def a_loss_reads_those_of_a_step_or_later(self) -> None:
        for since in (-1, 0, 3):
            rows = self.memory.in_use(since)
            live = slice(None) if rows.live is None else rows.live
            assert sorted(rows.labels[live].tolist()) == [row[0] for row in self.sound if row[2] >= since]

    @invariant()
    def finds_the_newest_row_of_an_image(self) -> None:
        found = self.memory.lookup(torch.tensor([3, 0, -1, 3, 7]))
        for i, image in enumerate([3, 0, -1, 3, 7]):
            labels = [row[0] for row in self.sound if row[1] == image >= 0]
            if labels:
                assert found.labels[i] == labels[-1]
                assert found.ids[i] == image
                assert torch.equal(found.embeddings[i], self.memory._embeddings[found.slots[i]])
            else:
                assert found.slots[i] == -1


MemoryMachine.TestCase.settings = settings(stateful_step_count=30, deadline=None)
TestMemoryIsADeque = MemoryMachine.TestCase


def test_every_bit_of_state_is_in_the_checkpoint() -> None:
    memory = CrossBatchMemory(3, dim=1)
    persistent = set(memory.state_dict())
    assert persistent == {name for name, _ in memory.named_buffers()}
    tensors = {name for name, value in vars(memory).items() if isinstance(value, torch.Tensor)}
    assert not tensors
    counters = {name for name, value in vars(memory).items() if isinstance(value, int)} - {"training", "sharded"}
    assert not counters


def test_a_wrap_keeps_the_newest_rows_in_their_slots() -> None:
    memory = CrossBatchMemory(5, dim=1)
    memory.enqueue(torch.ones(4, 1), torch.arange(4))
    slots = memory.enqueue(torch.ones(3, 1), torch.arange(4, 7))
    assert slots.tolist() == [4, 0, 1]
    assert sorted(memory.labels.tolist()) == [2, 3, 4, 5, 6]
    assert memory.enqueue(torch.ones(2, 1), torch.arange(7, 9)).tolist() == [2, 3]


def test_label_zero_counts_as_a_row() -> None:
    memory = CrossBatchMemory(4, dim=2)
    memory.enqueue(torch.ones(3, 2), torch.zeros(3, dtype=torch.int64))
    assert len(memory) == len(memory.embeddings) == 3


def test_storage_dtype_survives_the_model_changing_its_own() -> None:
    memory = CrossBatchMemory(4, dim=2)
    memory.enqueue(torch.tensor([[1.0, 1 / 3]]), torch.tensor([1]))
    before = memory.embeddings.clone()
    nn.Sequential(nn.Linear(2, 2), memory).to(torch.bfloat16)
    assert memory.embeddings.dtype == torch.float32
    assert torch.equal(memory.embeddings, before)
    assert memory._labels.dtype == torch.int64


def test_a_row_without_a_direction_is_never_compared_with() -> None:
    memory = CrossBatchMemory(8, dim=2)
    given = torch.tensor([[1.0, 0.0], [0.0, 0.0], [1e30, 1e30], [torch.nan, 1.0], [torch.inf, 1.0], [1e-6, 0.0]])
    slots = memory.enqueue(given, torch.arange(6))
    assert slots.tolist() == [0, -1, -1, -1, -1, 5]
    assert memory.labels.tolist() == [0, 5]


def test_an_empty_memory_is_one() -> None:
    memory = CrossBatchMemory(4, dim=2)
    assert (memory or None) is memory
    assert len(memory) == 0


def test_rows_take_no_gradient() -> None:
    memory = CrossBatchMemory(4, dim=2)
    memory.enqueue(torch.ones(2, 2, requires_grad=True), torch.arange(2))
    assert not memory.embeddings.requires_grad


def test_fill_takes_as_many_rows_as_fit_and_no_more() -> None:
    memory = CrossBatchMemory(5, dim=2)
    pulled = []

    def batches():
        for first in range(0, 100, 3):
            pulled.append(first)
            yield torch.ones(3, 2), torch.arange(first, first + 3), torch.arange(first, first + 3)

    memory.fill(lambda images: images, batches(), step=7)
    assert sorted(memory.labels.tolist()) == [0, 1, 2, 3, 4]
    assert memory.steps.tolist() == [7] * 5
    assert pulled == [0, 3]


def test_says_how_many_bytes_it_takes() -> None:
    assert CrossBatchMemory(1000, dim=128).nbytes >= 1000 * 128 * 4
    assert CrossBatchMemory(1000, dim=128, dtype=torch.bfloat16).nbytes < 1000 * 128 * 4


@pytest.mark.usefixtures("as_users_run_it")
def test_refuses_what_does_not_fit() -> None:
    with pytest.raises(ShapeError, match="holds 2-d embeddings, got 3-d"):
        CrossBatchMemory(3, dim=2).enqueue(torch.zeros(4, 3), torch.arange(4))
    with pytest.raises(ShapeError, match="4 embeddings need as many labels, got 3"):
        CrossBatchMemory(3, dim=2).enqueue(torch.zeros(4, 2), torch.arange(3))
    with pytest.raises(ShapeError, match=r"ids are int64, got torch.float32: call .long\(\) on them"):
        CrossBatchMemory(3, dim=2).enqueue(torch.zeros(4, 2), torch.arange(4), ids=torch.arange(4.0))
    with pytest.raises(SettingError, match="whole numbers of at least 1"):
        CrossBatchMemory(0, dim=2)
    with pytest.raises(SettingError, match=r"stores torch.float32, torch.bfloat16 or torch.float16, got torch.float64"):
        CrossBatchMemory(2, dim=2, dtype=torch.float64)


def test_says_what_does_not_fit_a_memory() -> None:
    memory = CrossBatchMemory(4, 2)
    with pytest.raises(SettingError, match="a step of at least 0, got -5"):
        memory.enqueue(torch.eye(2), torch.arange(2), step=-5)
    with pytest.raises(SettingError, match="a step of at least 0, got -5"):
        memory.enqueue(torch.eye(2), torch.arange(2), step=torch.tensor(-5))
    with pytest.raises(RuntimeError, match="the state is of a memory of size=9, dim=2, this one is size=4, dim=2"):
        memory.load_state_dict(CrossBatchMemory(9, 2).state_dict())
