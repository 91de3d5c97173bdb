"""Tests of a memory that follows the network: rows follow the motion that images share, and no other motion."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import normalize
from torch.testing import assert_close

from crossbatch import CrossBatchMemory
from crossbatch.errors import ShapeError
from crossbatch.following import Following, shared_motion
from crossbatch.memory import carried

DIM, EVERY, STEPS = 16, 10, 100
SPECTRUM = 0.8 ** torch.arange(DIM)  # like trained embeddings: a few directions hold most of the variance


def rows(images: int, dim: int = DIM) -> Tensor:
    return normalize(torch.randn(images, dim) * SPECTRUM[:dim] if dim <= DIM else torch.randn(images, dim))


def turning(angle: float) -> Tensor:
    """A rotation of the whole space by at most this angle."""
    skew = torch.randn(DIM, DIM)
    skew = skew - skew.T
    return torch.linalg.matrix_exp(angle * skew / torch.linalg.matrix_norm(skew, 2))


def distance(one: Tensor, other: Tensor) -> float:
    return float((normalize(one.float()) - normalize(other.float())).square().sum(1).mean())


def run(place: list[Tensor], *, follow: bool) -> CrossBatchMemory:
    """Simulate a network that puts image i at `place[step][i]`. A step enqueues four images; the last are the probe."""
    memory = CrossBatchMemory(size=4 * STEPS, dim=DIM)
    following = Following(memory, images=8 * DIM)
    for step, now in enumerate(place):
        if follow and step % EVERY == 0:
            following(now[-8 * DIM :], step)
        if step < STEPS:
            ids = torch.arange(4 * step, 4 * step + 4)
            memory.enqueue(now[ids], ids, ids=ids, step=step)
    return memory


def left(place: list[Tensor], *, follow: bool) -> float:
    memory = run(place, follow=follow)
    return distance(memory.embeddings, place[-1][memory.ids])


def test_where_the_space_is_turned_at_most_two_hundredths_of_the_drift_are_left() -> None:
    turn, where = turning(0.02), rows(4 * STEPS + 8 * DIM)
    place = [where]
    for _ in range(STEPS):
        place.append(place[-1] @ turn)
    raw = left(place, follow=False)
    assert raw > 0.3
    assert left(place, follow=True) < 0.02 * raw


def test_the_probe_may_have_rows_of_any_length() -> None:
    turn, where = turning(0.02), rows(4 * STEPS + 8 * DIM)
    place = [where]
    for _ in range(STEPS):
        place.append(place[-1] @ turn)
    memories = []
    for scale in (1.0, 20 * torch.rand(len(where), 1) + 1):
        memory = CrossBatchMemory(len(where), DIM)
        memory.enqueue(where, torch.arange(len(where)), step=0)
        following = Following(memory, 8 * DIM)
        for step in (0, STEPS):
            following((place[step] * scale)[-8 * DIM :], step)
        memories.append(memory.embeddings)
    assert_close(memories[1], memories[0])


def test_what_is_kept_is_not_rounded_when_the_model_changes_its_type() -> None:
    following = Following(CrossBatchMemory(4, DIM), 8)
    following(rows(8), 0)
    before = following.probe.clone()
    nn.Sequential(nn.Linear(2, 2), following).to(torch.bfloat16)
    assert torch.equal(following.probe, before)
    assert following.motion.dtype == torch.float32


def test_a_motion_of_each_image_alone_is_not_followed() -> None:
    """Rows nearly stay in place: following is hardly worse than not following."""
    where = rows(4 * STEPS + 8 * DIM)
    place = [where]
    for _ in range(STEPS):
        place.append(normalize(place[-1] + 0.05 * torch.randn_like(where)))
    raw = left(place, follow=False)
    assert left(place, follow=True) < 1.03 * raw


def test_a_shared_motion_is_found_among_what_each_image_does_alone() -> None:
    turn, where = turning(0.02), rows(4 * STEPS + 8 * DIM)
    place = [where]
    for _ in range(STEPS):
        place.append(normalize(place[-1] @ turn + 0.01 * torch.randn_like(where)))
    assert left(place, follow=True) < 0.5 * left(place, follow=False)


def test_a_row_written_between_two_calls_goes_the_rest_of_the_way() -> None:
    memory = CrossBatchMemory(size=3, dim=2)
    for step in (0, 5, 10):
        memory.enqueue(torch.tensor([[1.0, 0.0]]), torch.tensor([step]), step=step)
    quarter = torch.tensor([[0.0, 1.0], [-1.0, 0.0]])
    memory.carry(quarter, 0, 10)
    assert torch.allclose(memory.embeddings, normalize(torch.tensor([[0.0, 1.0], [0.5, 0.5], [1.0, 0.0]])))
    one = torch.tensor([[1.0, 0.0]])
    assert torch.allclose(carried(one, quarter, torch.tensor([0.5])), memory.embeddings[1:2])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_carried_rows_stay_unit_rows_of_the_storage_dtype_and_empty_slots_stay_empty(dtype: torch.dtype) -> None:
    memory = CrossBatchMemory(size=9, dim=DIM, dtype=dtype)
    memory.enqueue(rows(5), torch.arange(5), step=0)
    memory.enqueue(torch.full((1, DIM), torch.nan), torch.tensor([5]), step=0)
    memory.carry(turning(0.5), 0, 10)
    assert memory.embeddings.dtype == dtype
    assert torch.allclose(memory.embeddings.float().norm(dim=1), torch.ones(5), atol=0.01)
    assert len(memory) == 5
    assert not memory._embeddings[5:].any()


def test_a_probe_that_is_not_finite_moves_nothing() -> None:
    memory = CrossBatchMemory(size=8, dim=DIM)
    memory.enqueue(rows(8), torch.arange(8))
    before, following = memory.embeddings.clone(), Following(memory, images=32)
    following(rows(32), 0)
    following(torch.full((32, DIM), torch.nan), 10)
    following(rows(32), 20)
    assert torch.allclose(memory.embeddings, before, atol=1e-6)


def test_images_that_are_missing_have_no_say() -> None:
    turn, where = turning(0.3), rows(60)
    memories = [CrossBatchMemory(size=20, dim=DIM) for _ in range(2)]
    for memory, images in zip(memories, (40, 70), strict=True):
        following = Following(memory, images=images)
        following(where[:40], 0)
        memory.enqueue(where[40:], torch.arange(20), step=0)
        following(where[:40] @ turn, 10)
    assert torch.allclose(memories[0].embeddings, memories[1].embeddings, atol=1e-5)


def test_few_images_for_many_dimensions_do_no_harm() -> None:
    where = rows(40, 512)
    assert distance(where @ shared_motion(where[:4], where[:4]), where) < 1e-6
    moved = normalize(where + 0.02 * torch.randn_like(where))
    assert distance(carried(where, shared_motion(where[:4], moved[:4]), torch.ones(40)), moved) < 1.2 * distance(
        where, moved
    )


def test_state_lives_in_buffers(tmp_path: Path) -> None:
    """After saving and loading between two calls, later calls give bit-for-bit the same rows."""
    turn, where = turning(0.05), rows(200)
    memory, other = CrossBatchMemory(size=20, dim=DIM), CrossBatchMemory(size=20, dim=DIM)
    following, restored = Following(memory, images=100), Following(other, images=100)
    following(where[:100], 0)
    memory.enqueue(where[100:120], torch.arange(20), step=3)
    following(where[:100] @ turn, 10)
    torch.save([memory.state_dict(), following.state_dict()], tmp_path / "state")
    for part, state in zip((other, restored), torch.load(tmp_path / "state", weights_only=True), strict=True):
        part.load_state_dict(state)
    for one in (following, restored):
        one(where[:100] @ turn @ turn, 20)
    assert torch.equal(memory.embeddings, other.embeddings)
    assert not list(following.parameters())
    assert [name for name, _ in following.named_buffers()] == ["probe", "since", "step", "motion"]


@pytest.mark.usefixtures("as_users_run_it")
def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ShapeError, match="got \\[4, 16\\] and \\[5, 16\\]"):
        shared_motion(rows(4), rows(5))
    with pytest.raises(ShapeError, match="up to 4 embeddings of 16 dimensions, got \\[5, 16\\]"):
        Following(CrossBatchMemory(size=4, dim=DIM), images=4)(rows(5), 0)
    with pytest.raises(ShapeError, match="16 dimensions need a motion \\[dim, dim\\], got \\[2, 2\\]"):
        CrossBatchMemory(size=4, dim=DIM).carry(torch.eye(2), 0, 1)


def test_autocast_changes_no_motion() -> None:
    before = rows(8 * DIM)
    now = before @ turning(0.3)
    memories = [CrossBatchMemory(64, DIM) for _ in range(2)]
    for memory in memories:
        memory.enqueue(before[:64], torch.zeros(64, dtype=torch.int64))
    plain, mixed = (Following(memory, 8 * DIM) for memory in memories)
    plain(before, 0)
    plain(now, 9)
    with torch.autocast("cpu", torch.bfloat16):
        mixed(before, 0)
        mixed(now, 9)
    assert torch.equal(memories[0].embeddings, memories[1].embeddings)
