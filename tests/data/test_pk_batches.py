"""Tests of P×K batches: P classes with K images each, decided by nothing but the seed and the step."""

from collections import Counter
from collections.abc import Callable
from itertools import islice
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader, TensorDataset

from crossbatch.data.pk_batches import PKBatches, Steps
from crossbatch.errors import DataError


@st.composite
def parts(draw: st.DrawFn) -> tuple[torch.Tensor, int, int, int]:
    """Shuffled labels of classes with 1 to 6 images, and a P and K that fit them."""
    sizes = torch.tensor([draw(st.integers(2, 6)), *draw(st.lists(st.integers(1, 6), max_size=8))])
    first, seed = draw(st.sampled_from([0, -3, 2**24, 2**60])), draw(st.integers(0, 2**40))
    labels = (first + torch.arange(len(sizes))).repeat_interleave(sizes)
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))
    classes = draw(st.integers(1, int((sizes > 1).sum())))
    return labels[order], classes, draw(st.integers(2, 5)), seed


@given(parts())
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_every_batch_has_p_classes_of_k_images(part: tuple[torch.Tensor, int, int, int]) -> None:
    labels, classes, images, _ = part
    batches = PKBatches(*part)
    sizes = Counter(labels.tolist())
    assert batches.size == classes * images
    assert batches.left_out == sum(size == 1 for size in sizes.values())
    assert batches.short_classes == sum(1 < size < images for size in sizes.values())
    for step in (0, 1, 2, 57, 10**9):
        rows = batches[step].reshape(classes, images)
        of_class = [set(labels[row].tolist()) for row in rows]
        assert all(len(found) == 1 for found in of_class)
        assert len(set.union(*of_class)) == classes
        for row, (label,) in zip(rows, of_class, strict=True):
            assert sizes[label] > 1
            assert len(set(row.tolist())) == images or sizes[label] < images


@pytest.mark.parametrize("of_round", [1, 2, 10])
@pytest.mark.parametrize("steps", [0, 1, 2, 5, 10, 13, 19, 25])
def test_the_share_of_classes_that_were_in_a_batch_lately(of_round: int, steps: int) -> None:
    batches = PKBatches(torch.arange(8 * of_round).repeat_interleave(2), 8, 2, 0)
    classes = [set((batches[step] // 2).tolist()) for step in range(1000)]
    seen = [len(classes[at] & set().union(*classes[at - steps : at])) / 8 for at in range(steps, 1000)]
    assert batches.share_seen(steps) == pytest.approx(sum(seen) / len(seen), abs=0.02)


@given(parts())
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_round_takes_each_class_at_most_once(part: tuple[torch.Tensor, int, int, int]) -> None:
    labels, classes, _, _ = part
    batches = PKBatches(*part)
    several = {label for label, size in Counter(labels.tolist()).items() if size > 1}
    steps = len(several) // classes
    for number in range(3):
        drawn = [
            label
            for step in range(number * steps, (number + 1) * steps)
            for label in set(labels[batches[step]].tolist())
        ]
        assert len(set(drawn)) == len(drawn) == steps * classes
        if len(several) % classes == 0:
            assert set(drawn) == several


@given(parts(), st.permutations(range(12)))
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_batch_is_a_pure_function_of_seed_and_step(
    part: tuple[torch.Tensor, int, int, int], order: list[int]
) -> None:
    batches = PKBatches(*part)
    in_sequence = [batches[step].tolist() for step in range(12)]
    torch.rand(3)
    assert {step: batches[step].tolist() for step in order} == dict(enumerate(in_sequence))
    assert [PKBatches(*part)[step].tolist() for step in range(12)] == in_sequence


def test_seeds_steps_and_rounds_differ() -> None:
    labels = torch.arange(200) % 40
    first, second = PKBatches(labels, 8, 4, seed=0), PKBatches(labels, 8, 4, seed=1)
    assert first[0].tolist() != second[0].tolist()
    drawn = [tuple(first[step].tolist()) for step in range(30)]
    assert len(set(drawn)) == 30
    assert labels[first[0]].tolist() != labels[first[5]].tolist()


def test_batches_have_no_end() -> None:
    batches = PKBatches(torch.arange(8) % 4, 3, 2, seed=0)
    assert len(list(islice(iter(batches), 50))) == 50
    seen = Counter(label for step in range(400) for label in set((torch.arange(8) % 4)[batches[step]].tolist()))
    assert set(seen) == {0, 1, 2, 3}
    assert min(seen.values()) > 250


@pytest.mark.parametrize("as_labels", [list, np.array, torch.tensor, lambda some: [f"class {one}" for one in some]])
def test_a_loader_draws_as_many_as_it_is_told(as_labels: Callable[[list[int]], Any]) -> None:
    numbers = [number % 7 for number in range(70)]
    batches = PKBatches(as_labels(numbers), 3, 4, steps=5)
    loader = DataLoader(TensorDataset(torch.arange(70)), batch_sampler=batches)
    drawn = [chosen.tolist() for (chosen,) in loader]
    assert len(loader) == len(drawn) == 5
    assert drawn == [PKBatches(numbers, 3, 4)[step].tolist() for step in range(5)]
    later = PKBatches(numbers, 3, 4, steps=range(2, 5))
    assert list(later) == drawn[2:]
    second, endless = [chosen.tolist() for (chosen,) in loader], PKBatches(numbers, 3, 4)
    assert second == [endless[step].tolist() for step in range(5, 10)]  # an epoch later
    assert list(islice(iter(endless), 10)) == list(islice(iter(endless), 10)) == drawn + second
    shares = [list(PKBatches(numbers, 3, 4, steps=5, share=(rank, 5))) for rank in range(5)]
    assert [[one for part in parts for one in part] for parts in zip(*shares, strict=True)] == drawn
    with pytest.raises(TypeError, match=r"no end: PKBatches\(…, steps=500\)"):
        len(PKBatches(numbers, 3, 4))


def test_the_shares_of_processes_make_up_the_batch() -> None:
    labels = torch.arange(10).repeat_interleave(4)
    whole = PKBatches(labels, 3, 3, steps=4)
    shares = [PKBatches(labels, 3, 3, steps=4, share=(rank, 4)) for rank in range(4)]
    for step, batch in enumerate(whole):
        assert [place for share in shares for place in share[step]] == batch
    assert [len(next(iter(share))) for share in shares] == [2, 2, 2, 3]
    for share in ((1, 1), (-1, 2), (0, 0), (0, 10)):
        with pytest.raises(DataError, match=r"share is \(rank, number of processes\), the rank from 0 on"):
            PKBatches(labels, 3, 3, share=share)


def test_every_image_of_a_class_is_drawn() -> None:
    """Also when a class with fewer than K images is drawn with replacement."""
    labels = torch.tensor([0] * 9 + [1] * 2)
    batches = PKBatches(labels, 2, 4, seed=0)
    assert batches.short_classes == 1
    assert {int(row) for step in range(40) for row in batches[step]} == set(range(11))


def test_refuses_what_cannot_be_drawn() -> None:
    labels = torch.tensor([0, 0, 1, 1, 2])
    with pytest.raises(DataError, match=r"a batch of 3 classes .* there are 2: take fewer classes"):
        PKBatches(labels, 3, 2, seed=0)
    with pytest.raises(DataError, match="no training class has two images"):
        PKBatches(torch.empty(0, dtype=torch.int64), 1, 2, seed=0)
    with pytest.raises(DataError, match="at least 1 class and 2 images of each, got 2 × 1"):
        PKBatches(labels, 2, 1, seed=0)
    with pytest.raises(DataError, match="at least 1 class and 2 images of each, got 0 × 2"):
        PKBatches(labels, 0, 2, seed=0)
    with pytest.raises(DataError, match="seed of the batches must be at least 0, got -1"):
        PKBatches(labels, 2, 2, seed=-1)
    for steps in (0, -3, 2.5, range(-2, 1), range(0, 9, 2)):
        with pytest.raises(DataError, match="steps is a number of batches of at least 1, or a range"):
            PKBatches(labels, 2, 2, steps=steps)
    with pytest.raises(DataError, match=r"one for each image, \[images\], got the shape \[5, 1\]"):
        PKBatches(labels[:, None], 2, 2)


def test_steps_start_where_the_run_is_when_the_loader_starts() -> None:
    at = 3
    steps = Steps(lambda: at)
    assert list(islice(steps, 3)) == [3, 4, 5]
    at = 100
    assert list(islice(steps, 2)) == [100, 101]
