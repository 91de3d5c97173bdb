"""Tests that the drift meters agree with known motions of the embeddings."""

import pytest
import torch
from torch import Tensor

from crossbatch.memory import CrossBatchMemory
from crossbatch.metrics.drift import (
    AtAge,
    ByAge,
    Sample,
    age_at,
    class_spread,
    returning,
)


class Moving:
    """A network that moves each embedding by a known squared distance per step, each in its own plane."""

    def __init__(self, images: int, angle: float) -> None:
        self.first, other = torch.linalg.qr(torch.randn(images, 32, 2))[0].unbind(2)
        self.second, self.angle = other, angle

    def at(self, step: int, ids: Tensor) -> Tensor:
        turned = torch.tensor(step * self.angle)
        return self.first[ids] * turned.cos() + self.second[ids] * turned.sin()

    def moved(self, steps: int) -> float:
        return float(2 - 2 * torch.tensor(steps * self.angle).cos())


def run_returning(network: Moving, steps: int) -> tuple[Tensor, Tensor]:
    """Ages and distances of returning images, whose rows are in a memory."""
    memory, draw = CrossBatchMemory(1000, 32), torch.Generator().manual_seed(0)
    ages, distances = [], []
    for step in range(steps):
        ids = torch.randperm(100, generator=draw)[:8]
        age, distance = returning(memory, network.at(step, ids), ids, step)
        ages.append(age)
        distances.append(distance)
        memory.enqueue(network.at(step, ids), ids, ids=ids, step=step)
    return torch.cat(ages), torch.cat(distances)


def test_the_free_meter_finds_a_known_movement_at_each_age() -> None:
    network = Moving(100, 0.01)
    ages, distances = run_returning(network, 200)
    for age in ages.unique().tolist():
        assert float(distances[ages == age].mean()) == pytest.approx(network.moved(age), rel=0.05)
    assert len(ages.unique()) > 20


def test_the_free_meter_takes_the_newest_row_and_leaves_out_unknown_images() -> None:
    memory = CrossBatchMemory(10, 2)
    memory.enqueue(torch.tensor([[1.0, 0.0]]), torch.tensor([0]), ids=torch.tensor([5]), step=3)
    memory.enqueue(torch.tensor([[0.0, 1.0]]), torch.tensor([0]), ids=torch.tensor([5]), step=7)
    ages, distances = returning(memory, torch.tensor([[0.0, 2.0], [1.0, 0.0]]), torch.tensor([5, 6]), 9)
    assert ages.tolist() == [2]
    assert distances.tolist() == [0.0]


def test_the_sample_meter_finds_a_known_movement_and_forgets_what_is_too_old() -> None:
    network, meter, everything = Moving(50, 0.001), Sample(longest=1000), torch.arange(50)
    for step in (90, 100, 190, 200):
        found, _ = meter.add(step, network.at(step, everything))
    assert [one.first for one in found] == [10, 100, 110]
    for one in found:
        assert one.distance == pytest.approx(network.moved(one.first), rel=0.01)
    assert [one.first for one in meter.add(1190, network.at(1190, everything))[0]] == [990, 1000]


def test_what_is_carried_along_is_measured_beside_what_stays() -> None:
    meter, turn = Sample(), torch.tensor([[0.0, 1.0], [-1.0, 0.0]])
    start = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    assert meter.add(0, start) == ([], [])
    meter.carry(lambda rows, _: rows @ turn)
    found, left = meter.add(10, start @ turn)
    assert [one.distance for one in found] == [pytest.approx(2)]
    assert [one.distance for one in left] == [pytest.approx(0)]
    meter.carry(lambda rows, then: rows if then else -rows)
    found, left = meter.add(20, start @ turn)
    assert [one.distance for one in left] == [pytest.approx(0), pytest.approx(4)]


def test_both_meters_rank_ages_alike() -> None:
    network, meter, everything = Moving(100, 0.01), Sample(), torch.arange(100)
    ages, distances = run_returning(network, 120)
    for step in range(0, 120, 2):
        by_sample = {one.first: one.distance for one in meter.add(step, network.at(step, everything))[0]}
    both = sorted(set(by_sample) & set(ages.tolist()))
    free = torch.tensor([float(distances[ages == age].mean()) for age in both])
    paper = torch.tensor([by_sample[age] for age in both])
    assert len(both) > 5
    assert torch.equal(free.argsort(), paper.argsort())


def test_a_bin_holds_its_ages_and_they_are_empty_after_they_are_taken() -> None:
    gathered = ByAge()
    gathered.add(torch.tensor([0, 1, 14, 15, 19, 250_000]), torch.tensor([1.0, 2, 3, 4, 8, 5]))
    assert gathered.take() == [
        AtAge(0, 0, 0, 1, 1.0),
        AtAge(1, 1, 1, 1, 2.0),
        AtAge(10, 14, 14, 1, 3.0),
        AtAge(15, 19, 17, 2, 6.0),
        AtAge(200_000, 299_999, 250_000, 1, 5.0),
    ]
    assert gathered.take() == []


def test_the_spread_of_a_class_is_that_between_its_images() -> None:
    embeddings = torch.tensor([[1.0, 0.0], [0.0, 3.0], [1.0, 0.0]])
    assert class_spread(embeddings, torch.tensor([4, 4, 9])) == pytest.approx(2.0)
    assert class_spread(embeddings[:2], torch.tensor([1, 2])) != class_spread(embeddings[:2], torch.tensor([1, 2]))


def test_the_age_at_which_a_curve_passes_a_distance() -> None:
    curve = [(10, 0.1), (100, 0.4), (200, 0.3)]
    assert age_at(curve, 0.05) == 5
    assert age_at(curve, 0.25) == pytest.approx(55)
    assert age_at(curve, 0.4) == age_at([], 0.1) == float("inf")
