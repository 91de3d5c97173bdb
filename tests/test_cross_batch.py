"""Tests of a loss with a memory: which rows are compared, from which step on, and what a checkpoint holds."""

import subprocess
import sys
import warnings
from copy import deepcopy
from typing import Any

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from crossbatch import ContrastiveLoss, CrossBatchLoss, CrossBatchMemory, MultiSimilarityLoss, SupConLoss
from crossbatch.errors import SettingError, ShapeError
from crossbatch.losses import Pairing
from crossbatch.losses.reference import reference_compare

LOSSES = [ContrastiveLoss(neg_margin=0.0), MultiSimilarityLoss()]
every_loss = pytest.mark.parametrize("loss", LOSSES, ids=str)


def batch(step: int, n: int = 6, dtype: torch.dtype = torch.float32):
    generator = torch.Generator().manual_seed(step)
    ids = torch.randint(20, (n,), generator=generator)
    return torch.randn(n, 5, generator=generator, dtype=dtype).requires_grad_(), ids % 4, ids


def test_a_loss_that_validates_in_training_mode_is_told() -> None:
    loss_fn = CrossBatchLoss(ContrastiveLoss(), CrossBatchMemory(size=15, dim=5))
    embeddings, labels, _ = batch(0)
    with torch.no_grad(), pytest.warns(UserWarning, match=r"enters the memory: call loss_fn.eval\(\)"):
        loss_fn(embeddings, labels)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("error")
        loss_fn.eval()(embeddings, labels)


@every_loss
@pytest.mark.parametrize("known", [True, False], ids=["ids", "no ids"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize("earlier_only", [True, False])
def test_equals_batch_term_plus_weighted_memory_term(loss, known: bool, dtype: torch.dtype, earlier_only: bool) -> None:
    """Compare with the plain form on the same rows, while the memory wraps and holds a row that is not finite."""
    memory = CrossBatchMemory(size=15, dim=5, dtype=dtype)
    loss_fn = CrossBatchLoss(loss, memory, memory_weight=0.7, batch_weight=0.4, earlier_only=earlier_only)
    for step in range(6):
        embeddings, labels, ids = batch(step)
        ids = ids if known else None
        if step == 3:
            memory.enqueue(torch.full((1, 5), torch.nan), torch.tensor([0]))
        before = deepcopy(memory)
        value = loss_fn(embeddings, labels, ids=ids)
        (gradient,) = torch.autograd.grad(value, embeddings)
        unit = torch.nn.functional.normalize(embeddings)
        held, own = (before, None) if earlier_only else (memory, torch.arange(6) + 6 * step + (step >= 3))
        own = None if own is None else own % 15
        live = held._steps >= 0
        pairing = Pairing(labels, held._labels, ids, held._ids, own, live, earlier_only)
        plain = 0.4 * reference_compare(loss, unit, unit, Pairing.within(labels, ids))
        plain = plain + 0.7 * reference_compare(loss, unit, held._embeddings.float(), pairing)
        assert_close(value, plain)
        assert_close(gradient, torch.autograd.grad(plain, embeddings)[0])


@every_loss
@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
def test_an_anchor_without_a_positive_from_an_earlier_batch_does_not_count_against_the_memory(
    loss, training: bool
) -> None:
    """Not a positive: a row of the same batch, an older row of the anchor's own image, a row beyond the age limit."""
    memory = CrossBatchMemory(size=12, dim=5)
    loss_fn = CrossBatchLoss(loss, memory, batch_weight=0.0)
    rows, _, _ = batch(0)
    loss_fn(rows, torch.tensor([0, 0, 1, 1, 2, 3]), ids=torch.arange(6))
    embeddings, _, _ = batch(1)
    labels, ids = torch.tensor([4, 0, 2, 4, 0, -5]), torch.tensor([7, 0, 4, 8, 6, 9])
    value = loss_fn.train(training)(embeddings, labels, ids=ids)
    counts, unit = torch.tensor([1, 4]), torch.nn.functional.normalize(embeddings)
    kept = memory.steps == 0
    pairing = Pairing(labels[counts], memory.labels[kept], ids[counts], memory.ids[kept])
    plain = reference_compare(loss, unit[counts], memory.embeddings[kept], pairing) * 2 / 6
    assert_close(value, plain)
    (gradient,) = torch.autograd.grad(value, embeddings)
    assert_close(gradient, torch.autograd.grad(plain, embeddings)[0])
    assert (gradient[[0, 2, 3, 5]] == 0).all()
    assert loss_fn.stats["memory_anchors"] == pytest.approx(2 / 6)
    loss_fn.max_age.fill_(0)
    assert bool(loss_fn(embeddings, labels, ids=ids + 100) == 0) == training


def test_an_empty_batch_costs_nothing() -> None:
    loss_fn = CrossBatchLoss(ContrastiveLoss(), CrossBatchMemory(40, dim=5))
    assert loss_fn(torch.empty(0, 5), torch.empty(0, dtype=torch.int64)) == 0


def test_no_anchor_with_a_positive_is_a_memory_term_of_nothing() -> None:
    loss_fn = CrossBatchLoss(ContrastiveLoss(), CrossBatchMemory(20, dim=5), batch_weight=0.5)
    embeddings, labels, _ = batch(0)
    value = loss_fn(embeddings, labels)
    assert_close(value, 0.5 * ContrastiveLoss()(embeddings, labels))
    assert loss_fn.stats["memory_positives"] == loss_fn.stats["memory_negatives"] == 0


@every_loss
def test_the_batch_term_keeps_the_gradient_of_both_sides(loss) -> None:
    embeddings, labels, ids = batch(0)
    loss_fn = CrossBatchLoss(loss, CrossBatchMemory(9, dim=5), memory_weight=0.0)
    (gradient,) = torch.autograd.grad(loss_fn(embeddings, labels, ids=ids), embeddings)
    assert_close(gradient, torch.autograd.grad(loss(embeddings, labels, ids=ids), embeddings)[0])


def test_warm_up_fills_the_memory_and_leaves_the_weights_alone() -> None:
    loss_fn = CrossBatchLoss(
        ContrastiveLoss(), CrossBatchMemory(20, dim=5), batch_weight=0.0, memory_weight=2.0, warmup_steps=2
    )
    for step in range(2):
        embeddings, labels, _ = batch(step)
        assert not loss_fn.memory_is_on
        assert_close(loss_fn(embeddings, labels), ContrastiveLoss()(embeddings, labels))
        assert "memory_loss" not in loss_fn.stats
    assert len(loss_fn.memory) == 12
    assert loss_fn.memory_is_on
    value = loss_fn(*batch(2)[:2])
    assert_close(value, 2 * loss_fn.stats["memory_loss"])


@every_loss
def test_rows_older_than_the_limit_do_not_count(loss) -> None:
    """The loss equals that with a smaller memory. Without the limit, the older rows count again."""
    limited, short = (CrossBatchLoss(loss, CrossBatchMemory(size, dim=5)) for size in (30, 6))
    for step in range(6):
        embeddings, labels, ids = batch(step)
        limited.max_age.fill_(1)  # only rows of the previous batch count
        assert_close(limited(embeddings, labels, ids=ids), short(embeddings, labels, ids=ids))
        assert limited.memory_is_on
    whole = CrossBatchLoss(loss, deepcopy(limited.memory))
    whole.step.copy_(limited.step)
    limited.max_age.fill_(2**62)
    for one in (limited.eval(), whole.eval()):
        assert len(one.memory) == 30
    assert_close(limited(*batch(9)[:2]), whole(*batch(9)[:2]))


def test_eval_enqueues_nothing_and_counts_no_step() -> None:
    loss_fn = CrossBatchLoss(ContrastiveLoss(), CrossBatchMemory(20, dim=5))
    loss_fn(*batch(0)[:2])
    loss_fn.eval()
    loss_fn(*batch(1)[:2])
    assert len(loss_fn.memory) == 6
    assert loss_fn.step == 1


def test_a_checkpoint_continues_as_if_nothing_had_happened() -> None:
    def build() -> CrossBatchLoss:
        return CrossBatchLoss(ContrastiveLoss(neg_margin=0.0), CrossBatchMemory(10, dim=5), warmup_steps=3)

    straight, resumed = build(), build()
    for step in range(8):
        embeddings, labels, ids = batch(step)
        if step == 2 or step == 5:
            fresh = build()
            fresh.load_state_dict(resumed.state_dict())
            resumed = fresh
        assert torch.equal(straight(embeddings, labels, ids=ids), resumed(embeddings, labels, ids=ids))


def test_a_batch_larger_than_the_memory() -> None:
    loss_fn = CrossBatchLoss(ContrastiveLoss(), CrossBatchMemory(4, dim=5))
    assert loss_fn(*batch(0, n=9)[:2]).isfinite()
    assert len(loss_fn.memory) == 4


def test_a_batch_of_one() -> None:
    loss_fn = CrossBatchLoss(ContrastiveLoss(), CrossBatchMemory(4, dim=5))
    assert loss_fn(*batch(0, n=1)[:2]) == 0
    assert len(loss_fn.memory) == 1


def test_tells_of_both_terms() -> None:
    loss_fn = CrossBatchLoss(ContrastiveLoss(neg_margin=-0.99), CrossBatchMemory(60, dim=5))
    for step in range(4):
        loss_fn(*batch(step)[:2])
    stats = loss_fn.stats
    assert set(stats) == {
        f"{term}_{what}" for term in ("batch", "memory") for what in ("loss", "positives", "negatives")
    } | {"memory_anchors"}
    assert 0 < stats["memory_anchors"] <= 1
    assert stats["memory_negatives"] > stats["batch_negatives"] > 0
    assert not any(value.requires_grad for value in stats.values())
    deepcopy(loss_fn)  # fails if the loss still holds a part of the autograd graph


@pytest.mark.usefixtures("as_users_run_it")
def test_refuses_negative_weights() -> None:
    with pytest.raises(SettingError, match="finite and not negative, got memory_weight=-1"):
        CrossBatchLoss(ContrastiveLoss(), CrossBatchMemory(4, dim=5), memory_weight=-1)
    with pytest.raises(SettingError, match="warmup_steps must not be negative, got -1"):
        CrossBatchLoss(ContrastiveLoss(), CrossBatchMemory(4, dim=5), warmup_steps=-1)
    with pytest.raises(SettingError, match="finite and not negative, got memory_weight=nan"):
        CrossBatchLoss(ContrastiveLoss(), CrossBatchMemory(4, dim=5), memory_weight=torch.nan)
    with pytest.raises(SettingError, match=r"warmup_steps is a whole number of steps, got 1\.5"):
        CrossBatchLoss(ContrastiveLoss(), CrossBatchMemory(4, dim=5), warmup_steps=1.5)


def test_views_of_one_image_are_told_to_be_no_positives_where_ids_are_given() -> None:
    """Two views of each image, the image as their class: with ids every pair is left out, and the loss would be 0."""
    loss_fn, views = CrossBatchLoss(SupConLoss(), CrossBatchMemory(16, dim=5)), torch.randn(8, 5, requires_grad=True)
    labels = torch.arange(4).repeat(2)
    with pytest.warns(UserWarning, match="pairs of one image are ignored; leave ids out"):
        loss_fn(views, labels, ids=labels)
    assert loss_fn(views, labels).item() > 0  # filterwarnings turns a warning into an error
    loss_fn(views[:4], torch.arange(4), ids=torch.arange(4))  # no class repeats: nothing to tell


def test_the_warmup_may_be_set_by_its_name() -> None:
    loss_fn = CrossBatchLoss(ContrastiveLoss(), CrossBatchMemory(4, dim=5), warmup_steps=9)
    loss_fn.warmup_steps = 5
    assert (loss_fn.warmup_steps, int(loss_fn.start)) == (5, 5)
    with pytest.raises(SettingError, match="start must not be negative, got -1"):
        loss_fn.warmup_steps = -1


@pytest.mark.parametrize("returned", [{"loss": 1.0}, 1.5, torch.ones(3)])
def test_a_loss_that_returns_no_number_is_named(returned: Any) -> None:
    class Wrapped(torch.nn.Module):
        def forward(self, embeddings: Any, labels: Any, ref_emb: Any = None, ref_labels: Any = None) -> Any:
            return returned

    loss_fn = CrossBatchLoss(Wrapped(), CrossBatchMemory(4, dim=5))
    with pytest.raises(SettingError, match=r"Wrapped returns .*: a loss returns one number, as a tensor"):
        loss_fn(torch.randn(4, 5), torch.arange(4) // 2)


@pytest.mark.usefixtures("as_users_run_it")
def test_what_is_no_embedding_or_label_is_refused_in_a_sentence() -> None:
    loss_fn, rows, labels = CrossBatchLoss(ContrastiveLoss(), CrossBatchMemory(4, dim=5)), torch.randn(4, 5), [0, 1] * 2
    for embeddings, given, told in (
        (rows, None, "labels are a tensor, got none"),
        (rows, ["a", "a", "b", "b"], r"got a list of texts: torch.from_numpy\(numpy.unique"),
        ((10 * rows).long(), torch.tensor(labels), "dense, of float32, .* got torch.int64: call .float()"),
        (rows.to_sparse(), torch.tensor(labels), "got torch.sparse_coo: call .to_dense()"),
        (rows + 1j, torch.tensor(labels), "got torch.complex64"),
    ):
        for call in (loss_fn, loss_fn.loss):
            with pytest.raises(ShapeError, match=told):
                call(embeddings, given)


@pytest.mark.usefixtures("as_users_run_it")
def test_refuses_what_is_no_number_of_rows() -> None:
    for size, dim in ((2.5, 5), ("4", 5), (4, None)):
        with pytest.raises(SettingError, match="size and dim of a memory are whole numbers of at least 1, got"):
            CrossBatchMemory(size, dim)


@pytest.mark.usefixtures("as_users_run_it")
def test_settings_take_plain_numbers_and_keep_their_types() -> None:
    loss_fn = CrossBatchLoss(ContrastiveLoss(), CrossBatchMemory(4, dim=5))
    loss_fn.memory_weight, loss_fn.start, loss_fn.max_age = 0.3, 7, 9
    loss_fn.bfloat16()
    assert loss_fn.memory_weight.equal(torch.tensor(0.3))
    assert (loss_fn.start.item(), loss_fn.max_age.item(), loss_fn.start.dtype) == (7, 9, torch.int64)
    assert dict(loss_fn.named_buffers())["start"] == 7
    loss_fn.start, loss_fn.batch_weight = np.int64(3), np.float32(0.5)
    assert (loss_fn.start.item(), loss_fn.batch_weight.item()) == (3, 0.5)
    with torch.inference_mode():  # validation callbacks are called in inference mode
        loss_fn.memory_weight = 0.5
    loss_fn.start, embeddings = 0, torch.randn(4, 5, requires_grad=True)
    for _ in range(2):
        loss_fn(embeddings, torch.arange(4) // 2).backward()
    for steps in (5.0, np.int64(5), torch.tensor(5)):
        assert CrossBatchLoss(ContrastiveLoss(), CrossBatchMemory(4, dim=5), warmup_steps=steps).start.item() == 5
    with pytest.raises(SettingError, match="finite and not negative, got batch_weight=-1"):
        loss_fn.batch_weight = -1
    with pytest.raises(SettingError, match="max_age is a whole number of steps, got inf"):
        loss_fn.max_age = torch.inf
    with pytest.raises(SettingError, match=r"start is a whole number of steps, got 1\.5"):
        loss_fn.start = 1.5
    loss_fn.start, loss_fn.memory_weight, loss_fn.step = torch.tensor(5.0), torch.tensor(0.25), 8
    assert (loss_fn.start.dtype, loss_fn.memory_weight.item(), loss_fn.step.item()) == (torch.int64, 0.25, 8)
    for wrong, told in (
        (-torch.ones(()), "got batch_weight=-1.0"),
        (torch.ones(2), r"got tensor\("),
        (None, "got None"),
    ):
        with pytest.raises(SettingError, match=told):
            loss_fn.batch_weight = wrong
    assert loss_fn.batch_weight.item() == 0.5


@pytest.mark.usefixtures("as_users_run_it")
def test_refuses_what_is_no_loss_or_no_memory() -> None:
    memory: Any = CrossBatchMemory(4, dim=5)
    for loss, told in (
        ("contrastive", "got str$"),
        (ContrastiveLoss, "got the class ContrastiveLoss: call it"),
        (None, "got NoneType$"),
    ):
        with pytest.raises(SettingError, match=f"a loss is a module, as ContrastiveLoss\\(\\), {told}"):
            CrossBatchLoss(loss, memory)
    for other in (None, ContrastiveLoss()):
        with pytest.raises(SettingError, match=f"takes a CrossBatchMemory, got {type(other).__name__}"):
            CrossBatchLoss(memory, other)


@pytest.mark.usefixtures("as_users_run_it")
def test_embeddings_of_another_length_are_refused_at_the_first_call() -> None:
    loss_fn = CrossBatchLoss(ContrastiveLoss(), CrossBatchMemory(4, dim=5))
    with pytest.raises(ShapeError, match="this memory holds 5-d embeddings, got 6-d"):
        loss_fn(torch.randn(4, 6), torch.arange(4))
    assert len(loss_fn.memory) == 0


COMPILED = """
import torch
from torch._dynamo.utils import counters
from crossbatch import ContrastiveLoss, CrossBatchLoss, CrossBatchMemory, MultiSimilarityLoss

for loss in (ContrastiveLoss(neg_margin=0.0), MultiSimilarityLoss()):
    loss_fn = CrossBatchLoss(loss, CrossBatchMemory(40, dim=5), warmup_steps=2)
    torch._dynamo.reset()
    network = torch.nn.Linear(5, 5)
    step = torch.compile(lambda rows, labels, ids: loss_fn(network(rows), labels, ids=ids), backend="eager")
    for number in range(40):
        if number == 32:
            assert counters["frames"]["ok"] > 0
            counters.clear()
        rows, ids = torch.randn(6, 5, requires_grad=True), torch.randint(20, (6,))
        step(rows, ids % 4, ids).backward()
        assert rows.grad.isfinite().all()
    assert not counters["frames"] and not counters["stats"], counters
"""


def test_a_compiled_step_is_compiled_no_more_once_the_memory_is_full() -> None:
    """Runs in a separate process, because the shape checks of the tests cannot be traced."""
    done = subprocess.run([sys.executable, "-c", COMPILED], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


class Theirs(torch.nn.Module):
    def forward(self, embeddings: Any, labels: Any, ref_emb: Any = None, ref_labels: Any = None) -> Any:
        return (embeddings @ (embeddings if ref_emb is None else ref_emb).T).mean()


def test_a_compiled_loss_is_the_loss() -> None:
    values = []
    for loss in (ContrastiveLoss(), torch.compile(ContrastiveLoss(), backend="eager")):
        torch.manual_seed(0)
        loss_fn, ids = CrossBatchLoss(loss, CrossBatchMemory(16, dim=5)), torch.arange(8)
        values.append([loss_fn(torch.randn(8, 5), torch.arange(8) // 2, ids=ids).item() for _ in range(3)])
    assert values[0] == values[1]


def test_a_loss_of_another_library_takes_an_empty_batch() -> None:
    loss_fn = CrossBatchLoss(Theirs(), CrossBatchMemory(8, dim=5))
    loss_fn(torch.randn(4, 5), torch.arange(4) // 2)
    empty = torch.zeros(0, 5, requires_grad=True)
    loss = loss_fn(empty, torch.zeros(0, dtype=torch.int64))
    loss.backward()
    assert loss.item() == 0
    assert len(loss_fn.memory) == 4


@pytest.mark.usefixtures("as_users_run_it")
def test_a_memory_refuses_steps_and_ids_that_do_not_fit() -> None:
    memory: Any = CrossBatchMemory(4, dim=2)
    with pytest.raises(SettingError, match="a step of at least 0, got -5"):
        memory.enqueue(torch.eye(2), torch.arange(2), step=np.int64(-5))
    with pytest.raises(ShapeError, match="ids are int64"):
        memory.lookup(torch.ones(2))
