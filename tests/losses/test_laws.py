"""Laws that every loss obeys. A new loss is tested by adding it to `LOSSES`."""

import inspect
import math
import weakref
from copy import deepcopy

import pytest
import torch
from torch.nn.functional import cosine_similarity, normalize
from torch.testing import assert_close

from crossbatch import (
    BinomialDevianceLoss,
    CircleLoss,
    ContrastiveLoss,
    LiftedStructureLoss,
    MarginLoss,
    MultiSimilarityLoss,
    NCALoss,
    NPairLoss,
    NTXentLoss,
    PairLoss,
    SupConLoss,
    TripletLoss,
    reference_loss,
)
from crossbatch.errors import SettingError, ShapeError
from crossbatch.losses import LOSSES as NAMED
from crossbatch.losses import RECOMMENDED, Pairing, recommended
from crossbatch.losses.engine import sides
from crossbatch.losses.engine.products import multiplies
from crossbatch.losses.engine.sums import Partial, merge
from crossbatch.losses.reference import reference_compare
from crossbatch.training.cores import torch_threads

LOSSES = [
    ContrastiveLoss(neg_margin=0.1),
    ContrastiveLoss(neg_margin=0.1, room=0.8),
    ContrastiveLoss(neg_margin=0.1, weigh="cost", room=0.7),
    ContrastiveLoss(neg_margin=0.1, reduction="sum"),
    MultiSimilarityLoss(),
    MultiSimilarityLoss(alpha=1, beta=10, base=0.2, epsilon=0.5, room=0.6),
    BinomialDevianceLoss(beta=5, base=0.1),
    BinomialDevianceLoss(room=0.4),
    LiftedStructureLoss(room=0.7),
    LiftedStructureLoss(scale=1, neg_margin=-0.5, room=0.2),
    LiftedStructureLoss(),
    NPairLoss(room=0.7),
    NTXentLoss(room=0.2),
    NTXentLoss(),
    SupConLoss(),
    SupConLoss(room=0.2),
    NCALoss(room=0.2),
    NCALoss(scale=2),
    CircleLoss(),
    CircleLoss(margin=0.25, scale=5, room=0.5),
    MarginLoss(),
    MarginLoss(margin=1, beta=0.5, room=0.6),
    TripletLoss(margin=0.3),
    TripletLoss(margin=0.3, weigh="cost", room=0.7),
    TripletLoss(margin=0.3, mining="semi-hard", weigh="cost", room=0.3),
    TripletLoss(margin=0.3, mining="semi-hard"),
    TripletLoss(margin=0.3, mining="hard", room=0.3),
]
every_loss = pytest.mark.parametrize("loss_fn", LOSSES, ids=str)


def rows(n: int, dtype: torch.dtype = torch.float64, seed: int = 0) -> torch.Tensor:
    return torch.randn(n, 6, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def with_width(loss_fn: PairLoss, width: int) -> PairLoss:
    """A copy of the loss that streams its pairs in blocks of this many columns, even if there are few."""
    copied = deepcopy(loss_fn)
    copied.width = width
    return copied


def assert_equal_loss_and_gradients(loss_fn: PairLoss, inputs: dict, leaves: list[torch.Tensor]) -> torch.Tensor:
    values = [loss_fn(**inputs), reference_loss(loss_fn, **inputs)]
    assert_close(*values)
    leaves = [*leaves, *loss_fn.parameters()]
    gradients = [torch.autograd.grad(value, leaves, materialize_grads=True) for value in values]
    # A scale of 80 amplifies float32 rounding. In float64 the gradients agree closely, so it is rounding.
    near = {"rtol": 1e-4, "atol": 1e-4} if leaves[0].dtype == torch.float32 else {}
    for ours, plain in zip(*gradients, strict=True):
        assert_close(ours, plain, **near)
        assert ours.isfinite().all()
    return gradients[0][0]


@every_loss
@pytest.mark.parametrize("classes", [1, 5, 500], ids=["all positive", "mixed", "mostly negative"])
@pytest.mark.parametrize(
    ("width", "dtype"), [*((width, torch.float64) for width in (1, 5, 17, 1000)), (5, torch.float32)], ids=str
)
def test_chunked_equals_reference(loss_fn: PairLoss, classes: int, width: int, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    anchors, refs = rows(8, dtype).requires_grad_(), rows(17, dtype, seed=1).requires_grad_()
    inputs = {
        "embeddings": anchors,
        "labels": torch.randint(classes, (8,)),
        "ref_emb": refs,
        "ref_labels": torch.randint(classes, (17,)),
        "ids": torch.randint(-1, 20, (8,)),
        "ref_ids": torch.randint(-1, 20, (17,)),
    }
    assert_equal_loss_and_gradients(with_width(loss_fn, width), inputs, [anchors, refs])


@every_loss
@pytest.mark.parametrize("width", [3, 1000])
def test_a_batch_compared_with_itself_gets_gradient_on_both_sides(loss_fn: PairLoss, width: int) -> None:
    anchors, labels = rows(12).requires_grad_(), torch.arange(12) % 4
    gradient = assert_equal_loss_and_gradients(
        with_width(loss_fn, width), {"embeddings": anchors, "labels": labels}, [anchors]
    )
    one_side = loss_fn(anchors, labels, ref_emb=anchors.detach(), ref_labels=labels)
    assert not torch.allclose(gradient, torch.autograd.grad(one_side, anchors)[0])


# Losses whose weights are constants in the gradient, also in the plain form.
CONSTANT = ("CircleLoss", "weigh='cost'")


@pytest.mark.parametrize("loss_fn", [loss for loss in LOSSES if not any(one in str(loss) for one in CONSTANT)], ids=str)
def test_gradcheck(loss_fn: PairLoss) -> None:
    labels = torch.arange(6) % 3
    anchors, refs = (rows(n, seed=n)[:, :3].clone().requires_grad_() for n in (6, 9))
    ref_labels = torch.arange(9) % 4
    loss_fn = with_width(loss_fn, 4)

    def over_refs(a: torch.Tensor, r: torch.Tensor) -> torch.Tensor:
        return loss_fn(a, labels, ref_emb=r, ref_labels=ref_labels)

    # Check along random directions: this finds a fault in any coordinate without trying each of forty.
    assert torch.autograd.gradcheck(lambda a: loss_fn(a, labels), anchors, fast_mode=True)
    assert torch.autograd.gradcheck(over_refs, (anchors, refs), fast_mode=True)


@pytest.mark.parametrize("loss_fn", [loss for loss in LOSSES if "semi-hard" not in str(loss)], ids=str)
def test_loss_falls_along_its_gradient_and_orders_easy_before_hard(loss_fn: PairLoss) -> None:
    labels = torch.tensor([0, 0, 1, 1])
    easy = torch.eye(2, dtype=torch.float64).repeat_interleave(2, 0)
    hard = torch.eye(2, dtype=torch.float64).repeat(2, 1)
    assert loss_fn(easy, labels) < loss_fn(hard, labels)
    blend = (hard + 0.3 * easy).requires_grad_()
    (gradient,) = torch.autograd.grad(loss_fn(blend, labels), blend)
    assert loss_fn(blend - 1e-3 * gradient, labels) < loss_fn(blend, labels)


@pytest.mark.parametrize("loss_fn", [loss for loss in LOSSES if loss.room < 1], ids=str)
@pytest.mark.parametrize("width", [None, 1])
def test_a_positive_above_room_gets_no_gradient(loss_fn: PairLoss, width: int | None) -> None:
    loss_fn = loss_fn if width is None else with_width(loss_fn, width)

    def pull(cosine: float) -> float:
        cosines = torch.tensor([cosine, loss_fn.room - 0.2], dtype=torch.float64)  # a positive and a negative
        refs = torch.stack([cosines, (1 - cosines**2).sqrt()], 1).requires_grad_()
        anchor = torch.tensor([[1.0, 0.0]], dtype=torch.float64)
        loss_fn(anchor, torch.tensor([0]), ref_emb=refs, ref_labels=torch.tensor([0, 1])).backward()
        return float(refs.grad[0].norm())

    assert pull(loss_fn.room + 0.1) == 0
    assert pull(loss_fn.room - 0.1) > 0


@every_loss
@pytest.mark.parametrize("case", ["no positives", "no negatives", "no references", "one anchor", "collapsed"])
def test_corner_cases_are_finite_and_equal_the_reference(loss_fn: PairLoss, case: str) -> None:
    anchors, labels = rows(1 if case == "one anchor" else 4), torch.zeros(1 if case == "one anchor" else 4).long()
    refs = rows(0 if case == "no references" else 7, seed=1)
    ref_labels = torch.full((len(refs),), 2**60 if case == "no positives" else 0)
    if case == "collapsed":
        anchors, refs, ref_labels = torch.ones_like(anchors), torch.ones_like(refs), torch.arange(7)
    inputs = {"embeddings": anchors.requires_grad_(), "labels": labels}
    if case == "one anchor":
        assert loss_fn(**inputs) == 0
        assert_close(torch.autograd.grad(loss_fn(**inputs), anchors)[0], torch.zeros_like(anchors))
        return
    inputs |= {"ref_emb": refs, "ref_labels": ref_labels}
    if len(refs):
        assert_equal_loss_and_gradients(loss_fn, inputs, [anchors])
    else:
        assert loss_fn(**inputs) == 0


def test_an_empty_batch_costs_nothing() -> None:
    loss_fn = ContrastiveLoss()
    loss_fn(rows(4), torch.arange(4) % 2)
    assert loss_fn(torch.empty(0, 3), torch.empty(0, dtype=torch.int64)) == 0
    assert loss_fn.stats == {"positives": 0, "negatives": 0, "anchors": 0}


@every_loss
def test_no_references_cost_nothing(loss_fn: PairLoss) -> None:
    loss_fn = with_width(loss_fn, 5)
    anchors = rows(4).requires_grad_()
    loss = loss_fn(anchors, torch.arange(4) % 2, ref_emb=rows(4)[:0], ref_labels=torch.arange(0))
    loss.backward()
    assert loss.isfinite()
    assert anchors.grad is None or anchors.grad.eq(0).all()


@every_loss
def test_a_row_that_is_not_finite_shows(loss_fn: PairLoss) -> None:
    for bad in (torch.nan, torch.inf):
        anchors = rows(8)
        anchors[3] = bad
        assert not loss_fn(anchors, torch.arange(8) // 2).isfinite()


@every_loss
def test_a_second_derivative_is_refused_and_the_reference_has_one(loss_fn: PairLoss) -> None:
    anchors, labels = rows(8).requires_grad_(), torch.arange(8) // 2
    with pytest.raises(SettingError, match="no second derivative"):
        torch.autograd.grad(loss_fn(anchors, labels), anchors, create_graph=True)
    (by,) = torch.autograd.grad(reference_loss(loss_fn, anchors, labels), anchors, create_graph=True)
    assert by.requires_grad


@every_loss
def test_stats_do_not_depend_on_the_width(loss_fn: PairLoss) -> None:
    """Except for semi-hard triplets: their negatives are counted in the block of positives that has most of them."""
    anchors, refs, labels, ref_labels = rows(8), rows(40, seed=1), torch.arange(8) % 4, torch.arange(40) % 4
    pairing = Pairing(labels, ref_labels)
    told = []
    for one in (with_width(loss_fn, 7), with_width(loss_fn, 19), with_width(loss_fn, 1000), deepcopy(loss_fn)):
        one.compare(normalize(anchors), normalize(refs), pairing)
        told.append({side: float(pairs) for side, pairs in one.stats.items()})
    assert told[0].keys() == {"positives", "negatives", "anchors"}
    assert told[0]["anchors"] == 1
    assert 0 < told[0]["positives"] <= 10
    assert 0 < told[0]["negatives"] <= 30
    if "semi-hard" not in str(loss_fn):
        assert told[0] == told[1] == told[2] == told[3]


@every_loss
def test_threads_do_not_change_a_loss(loss_fn: PairLoss) -> None:
    labels, ref_labels, refs = torch.arange(8) % 4, torch.arange(500) % 40, normalize(rows(500, seed=1))
    found = []
    for threads in (1, 3):
        anchors = normalize(rows(8)).requires_grad_()
        with torch_threads(threads):
            value = with_width(loss_fn, 170).compare(anchors, refs, Pairing(labels, ref_labels))
            found.append((value, *torch.autograd.grad(value, anchors)))
    assert_close(*found)


@every_loss
def test_rows_of_a_memory_do_not_make_double_precision_single(loss_fn: PairLoss) -> None:
    anchors, refs = normalize(rows(8)), normalize(rows(200, torch.float32, seed=1))
    pairing = Pairing(torch.arange(8) % 4, torch.arange(200) % 8)
    assert_close(
        with_width(loss_fn, 64).compare(anchors, refs, pairing),
        reference_compare(loss_fn, anchors, refs, pairing),
        rtol=1e-11,
        atol=1e-13,
    )


@every_loss
def test_a_loss_that_is_kept_does_not_keep_the_memory(loss_fn: PairLoss) -> None:
    """Users often collect the loss of each step in a list. It must not keep the memory or a block of similarities."""
    anchors, refs = normalize(rows(8)).requires_grad_(), normalize(rows(200, seed=1))
    value = with_width(loss_fn, 64).compare(anchors, refs, Pairing(torch.arange(8) % 4, torch.arange(200) % 8))
    gone = weakref.ref(refs)
    del refs
    value.backward()
    assert gone() is None


@every_loss
def test_labels_are_compared_as_int64(loss_fn: PairLoss) -> None:
    """16777216 and 16777217 are equal in float32; 2**60 and 2**60 + 1 are equal in float64."""
    anchors, refs = rows(2), rows(2, seed=1)
    for low in (16777216, 2**60):
        labels = torch.tensor([low, low + 1])
        value = loss_fn(anchors, labels, ref_emb=refs, ref_labels=labels)
        assert_close(value, loss_fn(anchors, torch.arange(2), ref_emb=refs, ref_labels=torch.arange(2)))


@every_loss
def test_cosine_ignores_length(loss_fn: PairLoss) -> None:
    anchors, labels = rows(8), torch.arange(8) % 3
    assert_close(loss_fn(anchors * 17, labels), loss_fn(normalize(anchors), labels))


@every_loss
def test_two_copies_of_an_image_are_no_pair(loss_fn: PairLoss) -> None:
    """With ids, an older row of an image is no pair with the image itself, but pairs with other images as usual."""
    anchors, refs = rows(3), rows(5, seed=1)
    labels, ref_labels = torch.arange(3), torch.arange(5) % 3
    ids, ref_ids = torch.arange(3), torch.arange(10, 15)
    matters = []
    for moved in (-anchors, anchors + 0.5 * rows(3, seed=2)):
        copies = {
            "ref_emb": torch.cat([refs, moved]),
            "ref_labels": torch.cat([ref_labels, labels]),
            "ids": ids,
        }
        own = loss_fn(anchors, labels, ref_ids=torch.cat([ref_ids, ids]), **copies)
        others = [[j for j in range(3) if j != i] for i in range(3)]
        one = [
            loss_fn(
                anchors[i : i + 1],
                labels[i : i + 1],
                ref_emb=torch.cat([refs, moved[others[i]]]),
                ref_labels=torch.cat([ref_labels, labels[others[i]]]),
            )
            for i in range(3)
        ]
        assert_close(own, torch.stack(one).mean())
        unknown = loss_fn(anchors, labels, ref_ids=torch.full((8,), -1), **copies)
        matters.append(not torch.isclose(own, unknown))
    assert any(matters)


@every_loss
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_no_worse_than_the_reference(loss_fn: PairLoss, dtype: torch.dtype) -> None:
    anchors, refs = rows(16), rows(64, seed=1)
    labels, ref_labels = torch.arange(16) % 4, torch.arange(64) % 8
    exact = reference_loss(loss_fn, anchors.to(dtype).double(), labels, refs.to(dtype).double(), ref_labels)
    half = loss_fn(anchors.to(dtype), labels, ref_emb=refs.to(dtype), ref_labels=ref_labels)
    assert half.dtype == torch.float32
    assert_close(half.double(), exact, rtol=1e-4, atol=1e-4)


@every_loss
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_rows_in_half_precision_point_the_same_way(loss_fn: PairLoss, dtype: torch.dtype) -> None:
    """The memory is in half precision, and so are products where the device supports it. The hardest row may change."""
    anchors, refs = rows(32, torch.float32).requires_grad_(), normalize(rows(2000, torch.float32, seed=1))
    pairing = Pairing(torch.arange(32) % 8, torch.arange(2000) % 50)
    gradients = [
        torch.autograd.grad(with_width(loss_fn, 300).compare(normalize(anchors), kept, pairing), anchors)[0]
        for kept in (refs, refs.to(dtype))
    ]
    rounded = multiplies(dtype, refs.device) and "mining='hard'" in str(loss_fn)  # may change the hardest row
    assert cosine_similarity(*(gradient.flatten() for gradient in gradients), dim=0) > (0.99 if rounded else 0.999)


@every_loss
def test_a_gradient_from_rows_in_float16_does_not_overflow(loss_fn: PairLoss, monkeypatch: pytest.MonkeyPatch) -> None:
    """Products are in float16, as on some devices. 200,000 close rows add up beyond its largest number."""
    monkeypatch.setattr(sides, "multiplies", lambda *_: True)
    axis = torch.eye(6)[:1]
    anchors = torch.cat([axis, axis + 0.3 * torch.eye(6)[1:2]]).requires_grad_()
    refs = normalize(axis + 0.02 * rows(200_000, torch.float32, seed=1))
    pairing = Pairing(torch.zeros(2).long(), (torch.arange(200_000) > 0).long())
    loss_fn = with_width(loss_fn, 200_000)
    exact, half = (
        torch.autograd.grad(loss_fn.compare(normalize(anchors), kept, pairing), anchors)[0]
        for kept in (refs, refs.half())
    )
    assert half.isfinite().all()
    if exact.norm() > 0 and "mining='hard'" not in str(loss_fn):  # rounding may select another hardest row
        assert cosine_similarity(half.flatten(), exact.flatten(), dim=0) > 0.99


@every_loss
def test_one_class_of_a_thousand_rows(loss_fn: PairLoss) -> None:
    """Positives and their triplets are processed in blocks."""
    anchors, refs = rows(4).requires_grad_(), rows(1200, seed=1)
    labels, ref_labels = torch.tensor([0, 0, 1, 2]), (torch.arange(1200) % 12).clamp(max=1)
    inputs = {"embeddings": anchors, "labels": labels, "ref_emb": refs, "ref_labels": ref_labels}
    assert_equal_loss_and_gradients(with_width(loss_fn, 256), inputs, [anchors])


@every_loss
def test_autocast_changes_nothing(loss_fn: PairLoss) -> None:
    anchors, labels = rows(8, torch.float32), torch.arange(8) % 3
    plain = loss_fn(anchors, labels)
    with torch.autocast("cpu", torch.bfloat16):
        assert_close(loss_fn(anchors, labels), plain)


@every_loss
def test_holes_and_own_slots_are_masked(loss_fn: PairLoss) -> None:
    anchors, refs = normalize(rows(4)), normalize(rows(9, seed=1))
    labels, ref_labels = torch.arange(4) % 2, torch.arange(9) % 3
    live = torch.tensor([True, False, True, True, False, True, True, True, False])
    refs[~live] = anchors[0]
    own = torch.tensor([-1, 0, 5, 3])
    pairing = Pairing(labels, ref_labels, own_slots=own, live=live)
    loss_fn = with_width(loss_fn, 4)
    assert_close(loss_fn.compare(anchors, refs, pairing), reference_compare(loss_fn, anchors, refs, pairing))
    kept = live.nonzero()[:, 0]
    moved = torch.tensor([-1, 0, 3, 2])
    without = Pairing(labels, ref_labels[live], own_slots=moved)
    assert_close(loss_fn.compare(anchors, refs, pairing), loss_fn.compare(anchors, refs[kept], without))


@every_loss
def test_never_holds_more_than_one_chunk_of_the_matrix(loss_fn: PairLoss, monkeypatch: pytest.MonkeyPatch) -> None:
    """This includes a class with many rows: positives are processed in blocks too."""
    widths, blocks = [], sides.Streamed.blocks

    def spy(*arguments, **options):
        for block in blocks(*arguments, **options):
            widths.append(block.similarities.shape[1])
            yield block

    monkeypatch.setattr(sides.Streamed, "blocks", spy)
    labels = torch.arange(4) % 2
    with_width(loss_fn, 16)(rows(4), labels, ref_emb=rows(200, seed=1), ref_labels=torch.arange(200) % 2)
    assert max(widths) == 16
    assert sum(widths) >= 200


def test_merge_is_associative() -> None:
    torch.manual_seed(0)

    def side() -> Partial:
        top = torch.randn(3, dtype=torch.float64) * 5
        top[torch.rand(3) < 0.3] = -torch.inf
        total = torch.rand(3, dtype=torch.float64) * (top > -torch.inf)
        by = torch.randn(3, 2, dtype=torch.float64) * (top > -torch.inf)[:, None]
        return Partial(total, total / 2, torch.ones(3).double(), (by, by[:, 0]), top)

    def close(left: Partial, right: Partial) -> None:
        assert_close(left._replace(by=left.by or None), right._replace(by=right.by or None))

    for a, b, c in [(side(), side(), side()) for _ in range(20)]:
        close(merge(merge(a, b), c), merge(a, merge(b, c)))
        d, e, f = a._replace(top=None), b._replace(top=None, by=()), c._replace(top=None, by=(None, c.by[1]))
        close(merge(merge(d, e), f), merge(d, merge(e, f)))


@every_loss
def test_any_split_of_the_columns_merges_into_the_whole(loss_fn: PairLoss) -> None:
    """Sums over uneven parts of the columns equal the sums over all columns, as shards of a memory need."""
    anchors, refs = normalize(rows(8)), normalize(rows(45, seed=1))
    pairing = Pairing(torch.arange(8) % 4, torch.arange(45) % 9)
    found = [with_width(loss_fn, width).compare(anchors, refs, pairing) for width in (1, 7, 19, 45)]
    for one in found:
        assert_close(one, reference_compare(loss_fn, anchors, refs, pairing))


@pytest.mark.usefixtures("as_users_run_it")
def test_refuses_what_does_not_fit() -> None:
    loss_fn = ContrastiveLoss()
    with pytest.raises(ShapeError, match="4 embeddings need as many labels, got 3"):
        loss_fn(rows(4), torch.arange(3))
    with pytest.raises(ShapeError, match="go together"):
        loss_fn(rows(4), torch.arange(4), ref_emb=rows(2))
    with pytest.raises(ShapeError, match="rows of ref_emb are 3 long, those of embeddings 6"):
        loss_fn(rows(4), torch.arange(4), ref_emb=torch.ones(2, 3, dtype=torch.float64), ref_labels=torch.arange(2))
    for wrong in (torch.arange(4).int(), torch.arange(4.0)):
        with pytest.raises(ShapeError, match=rf"labels are int64, got {wrong.dtype}: call .long\(\) on them"):
            loss_fn(rows(4), wrong)
        with pytest.raises(ShapeError, match=f"ref_labels are int64, got {wrong.dtype}"):
            loss_fn(rows(4), torch.arange(4), ref_emb=rows(4), ref_labels=wrong)
    with pytest.raises(ShapeError, match="4 embeddings need as many ids, got 1"):
        loss_fn(rows(4), torch.arange(4), ids=torch.arange(1))
    with pytest.raises(ShapeError, match="ids and ref_ids go together"):
        loss_fn(rows(4), torch.arange(4), ref_emb=rows(4), ref_labels=torch.arange(4), ids=torch.arange(4))
    with pytest.raises(SettingError, match=r"neg_margin is a cosine, at least -1 and below room, got 1\.5 and 1\.0"):
        ContrastiveLoss(neg_margin=1.5)
    with pytest.raises(SettingError, match="room is a cosine"):
        NAMED["nca"](room=2.0)
    with pytest.raises(SettingError, match="weigh is None or"):
        ContrastiveLoss(reduction="sum", weigh="cost")
    with pytest.raises(ShapeError, match=r"labels have the shape \[4\], got \[4, 1\]: call .flatten"):
        loss_fn(rows(4), torch.arange(4)[:, None])
    with pytest.raises(
        SettingError, match=r"there is no loss 'tripplet': did you mean triplet\? There are contrastive"
    ):
        recommended("tripplet")
    with pytest.raises(SettingError, match="epsilon is a difference of cosines, at least 0, got -5"):
        NAMED["multi-similarity"](epsilon=-5)
    with pytest.raises(SettingError, match="neg_margin is a cosine, from -1 to 1, got 5"):
        NAMED["lifted-structure"](neg_margin=5)
    for named, loss in NAMED.items():
        for name in set(inspect.signature(loss).parameters) - {"reduction", "weigh", "mining"}:
            for value in (math.nan, math.inf):
                with pytest.raises(SettingError, match=f"got.* {value}"):
                    NAMED[named](**{name: value})
    for loss, name in (
        ("multi-similarity", "alpha"),
        ("multi-similarity", "beta"),
        ("binomial-deviance", "alpha"),
        ("lifted-structure", "scale"),
        ("n-pair", "scale"),
        ("nt-xent", "temperature"),
        ("sup-con", "temperature"),
        ("nca", "scale"),
    ):
        with pytest.raises(SettingError, match=f"{name} must be above 0, got 0"):
            NAMED[loss](**{name: 0})


def test_a_loss_says_its_parameters() -> None:
    assert (
        repr(ContrastiveLoss(0.3, reduction="sum"))
        == "ContrastiveLoss(neg_margin=0.3, reduction='sum', weigh=None, room=1.0)"
    )
    assert repr(NAMED["margin"](beta=1.25)) == "MarginLoss(margin=0.2, beta=1.25, room=1.0)"


@pytest.mark.parametrize("name", NAMED)
def test_recommended_options_are_options_of_the_class(name: str) -> None:
    assert recommended(name).extra_repr() == NAMED[name](**RECOMMENDED.get(name, {})).extra_repr()
    assert recommended(name, room=0.9).room == 0.9
    assert NAMED[name]().room == 1.0


def test_recommended_weights_go_with_a_mean() -> None:
    assert recommended("contrastive").weigh == "cost"
    assert recommended("contrastive", reduction="sum").weigh is None
