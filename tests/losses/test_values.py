"""Tests of loss values: against a calculation by hand, a loop, and another library."""

import math
import operator
from collections.abc import Callable

import pytest
import pytorch_metric_learning.losses as pml
import torch
from pytorch_metric_learning.distances import CosineSimilarity
from pytorch_metric_learning.reducers import DoNothingReducer
from torch.nn.functional import normalize
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


def test_contrastive_by_hand() -> None:
    """Angles 0°, 60° (class 0) and 30° (class 1): s01 = 0.5, s02 = s12 = √3/2."""
    angle = torch.tensor([0.0, 60.0, 30.0]).deg2rad()
    rows, labels = torch.stack([angle.cos(), angle.sin()], 1), torch.tensor([0, 0, 1])
    push = math.sqrt(3) / 2 - 0.5
    for weigh in (None, "cost"):  # weights change nothing here: the third row's negatives are equally hard
        value = ContrastiveLoss(weigh=weigh)(rows, labels).item()
        assert_close(value, (2 * (0.5 + push) + push) / 3, rtol=1e-5, atol=1e-5)
    total = ContrastiveLoss(reduction="sum")(rows, labels).item()
    assert_close(total, (2 * (0.5 + push) + 2 * push) / 3, rtol=1e-5, atol=1e-5)


def test_harder_negatives_weigh_more() -> None:
    """Costs of 0.3 and 0.1 have weights 3 : 1, in the value and in the gradient."""
    refs = torch.tensor([[0.8, 0.6, 0.0], [0.6, 0.0, 0.8]], dtype=torch.float64)
    anchor = torch.tensor([[1.0, 0.0, 0.0]], dtype=torch.float64).requires_grad_()
    value = ContrastiveLoss(weigh="cost")(anchor, torch.tensor([0]), ref_emb=refs, ref_labels=torch.tensor([1, 2]))
    assert_close(value.item(), (0.3 * 0.3 + 0.1 * 0.1) / 0.4)
    assert_close(torch.autograd.grad(value, anchor)[0], torch.tensor([[0, 0.75 * 0.6, 0.25 * 0.8]]).double())


def test_the_sum_has_the_gradient_of_the_authors() -> None:
    """A loop over anchors as in the paper: Σ(1 − s) over positives and Σ s over negatives above 0.5."""
    torch.manual_seed(0)
    anchors = normalize(torch.randn(6, 4, dtype=torch.float64)).requires_grad_()
    refs, ref_labels = normalize(torch.randn(40, 4, dtype=torch.float64)), torch.randint(3, (40,))
    labels = torch.arange(6) % 3
    theirs = anchors.new_zeros(())
    for anchor, label in zip(normalize(anchors), labels, strict=True):
        similarity = refs @ anchor
        negatives = similarity[ref_labels != label]
        theirs = theirs + (1 - similarity[ref_labels == label]).sum() + negatives[negatives > 0.5].sum()
    ours = ContrastiveLoss(reduction="sum")(anchors, labels, ref_emb=refs, ref_labels=ref_labels)
    assert_close(torch.autograd.grad(ours, anchors), torch.autograd.grad(theirs / 6, anchors))


def test_multi_similarity_equals_a_loop_over_pairs() -> None:
    torch.manual_seed(0)
    anchors, labels = normalize(torch.randn(10, 5, dtype=torch.float64)), torch.arange(10) % 4
    total = 0.0
    for i in range(10):
        pairs = [(float(anchors[i] @ anchors[j]), labels[i] == labels[j]) for j in range(10) if j != i]
        positives, negatives = [s for s, same in pairs if same], [s for s, same in pairs if not same]
        kept = [s for s in positives if s < max(negatives) + 0.1]
        hard = [s for s in negatives if s > min(positives) - 0.1]
        total += math.log(1 + sum(math.exp(-2 * (s - 0.5)) for s in kept)) / 2
        total += math.log(1 + sum(math.exp(50 * (s - 0.5)) for s in hard)) / 50
    assert_close(float(MultiSimilarityLoss()(anchors, labels)), total / 10)


@pytest.mark.parametrize("with_references", [False, True])
def test_sums_agree_with_pytorch_metric_learning(with_references: bool) -> None:
    """Their multi-similarity loss has no mining of its own. Our ε is so large that it mines nothing away."""
    torch.manual_seed(0)
    anchors, labels = torch.randn(12, 8, dtype=torch.float64), torch.arange(12) % 4
    refs = {"ref_emb": torch.randn(30, 8, dtype=torch.float64), "ref_labels": torch.randint(4, (30,))}
    refs = refs if with_references else {}
    theirs = pml.MultiSimilarityLoss(alpha=2, beta=50, base=0.5)(anchors, labels, **refs)
    assert_close(MultiSimilarityLoss(epsilon=3)(anchors, labels, **refs), theirs)


def by_anchor(parts: dict[str, dict], anchors: int, mean_of: Callable[[torch.Tensor], torch.Tensor]) -> torch.Tensor:
    """Mean over anchors of each anchor's mean over pairs, for each part of the library's unreduced loss."""
    total = torch.zeros(anchors, dtype=torch.float64)
    for part in parts.values():
        indices = part["indices"]
        anchor = indices[0] if isinstance(indices, tuple) else indices
        for i in range(anchors):
            mine = part["losses"][anchor == i]
            total[i] += mean_of(mine) if len(mine) else 0
    return total.mean()


def over_active(costs: torch.Tensor) -> torch.Tensor:
    return costs.sum() / (costs > 0).sum().clamp(min=1)


SAME_AS_THEIRS = [
    (
        ContrastiveLoss(neg_margin=0.1),
        lambda **o: pml.ContrastiveLoss(pos_margin=1, neg_margin=0.1, distance=CosineSimilarity(), **o),
        over_active,
    ),
    (
        TripletLoss(margin=0.2),
        lambda **o: pml.TripletMarginLoss(margin=0.2, distance=CosineSimilarity(), **o),
        over_active,
    ),
    (NTXentLoss(temperature=0.2), lambda **o: pml.NTXentLoss(temperature=0.2, **o), torch.mean),
    (NPairLoss(scale=5), lambda **o: pml.NTXentLoss(temperature=0.2, **o), torch.mean),
    (SupConLoss(temperature=0.2), lambda **o: pml.SupConLoss(temperature=0.2, **o), torch.mean),
    (NCALoss(scale=6), lambda **o: pml.NCALoss(softmax_scale=3, **o), torch.mean),
    (CircleLoss(margin=0.4, scale=8), lambda **o: pml.CircleLoss(m=0.4, gamma=8, **o), torch.mean),
    (
        LiftedStructureLoss(scale=1, neg_margin=0.1),
        lambda **o: pml.GeneralizedLiftedStructureLoss(neg_margin=0.1, pos_margin=1, distance=CosineSimilarity(), **o),
        torch.mean,
    ),
]


@pytest.mark.parametrize(("ours", "theirs", "mean_of"), SAME_AS_THEIRS, ids=[str(ours) for ours, *_ in SAME_AS_THEIRS])
@pytest.mark.parametrize("with_references", [False, True])
def test_agrees_with_pytorch_metric_learning(
    ours: PairLoss, theirs: Callable[..., torch.nn.Module], mean_of: Callable, with_references: bool
) -> None:
    """Their unreduced loss is averaged by anchor as ours: their reducers average over all pairs of a batch."""
    anchors, labels = torch.randn(12, 8, dtype=torch.float64), torch.arange(12) % 4
    refs = {"ref_emb": torch.randn(30, 8, dtype=torch.float64), "ref_labels": torch.randint(4, (30,))}
    refs = refs if with_references else {}
    unreduced = theirs(reducer=DoNothingReducer())(anchors, labels, **refs)
    assert_close(ours(anchors, labels, **refs), by_anchor(unreduced, 12, mean_of), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("mining", ["all", "semi-hard", "hard"])
@pytest.mark.parametrize(("room", "weigh"), [(0.4, None), (1, None), (0.4, "cost")])
@pytest.mark.parametrize("width", [None, 7])
def test_triplets_equal_a_loop_over_triplets(mining: str, room: float, weigh: str | None, width: int | None) -> None:
    anchors, labels = normalize(torch.randn(9, 4, dtype=torch.float64)), torch.arange(9) % 3
    refs, ref_labels = normalize(torch.randn(20, 4, dtype=torch.float64)), torch.randint(4, (20,))
    total = 0.0
    for anchor, label in zip(anchors, labels, strict=True):
        similarities = (refs @ anchor).tolist()
        positives = [min(s, room) for s, other in zip(similarities, ref_labels, strict=True) if other == label]
        negatives = [s for s, other in zip(similarities, ref_labels, strict=True) if other != label]
        if mining == "hard":
            positives, negatives = [min(positives)], [max(negatives)]
        costs = [
            0.3 + n - p for p in positives for n in negatives if 0.3 + n - p > 0 and (mining != "semi-hard" or n < p)
        ]
        weights = costs if weigh == "cost" and mining != "hard" else [1] * len(costs)
        total += sum(map(operator.mul, weights, costs)) / (sum(weights) or 1)
    loss_fn = TripletLoss(0.3, mining, weigh, room=room)
    loss_fn.width = width
    assert_close(loss_fn(anchors, labels, ref_emb=refs, ref_labels=ref_labels).item(), total / 9)


@pytest.mark.parametrize("mining", ["all", "semi-hard", "hard"])
def test_an_anchor_without_a_positive_or_without_a_negative_makes_no_triplet(mining: str) -> None:
    embeddings = normalize(torch.tensor([[1.0, 0.0], [0.9, 0.1], [0.8, 0.3]]))
    for labels in ([0, 1, 2], [0, 0, 0]):
        assert float(TripletLoss(0.5, mining)(embeddings, torch.tensor(labels))) == 0


def test_margin_equals_a_loop_and_learns_its_boundary() -> None:
    anchors, labels = normalize(torch.randn(8, 4, dtype=torch.float64)), torch.arange(8) % 3
    total, gradient = 0.0, 0.0
    for i in range(8):
        apart = [(float((anchors[i] - anchors[j]).norm()), bool(labels[i] == labels[j])) for j in range(8) if j != i]
        pulls = [0.2 + d - 1.1 for d, same in apart if same and 0.2 + d > 1.1]
        pushes = [0.2 + 1.1 - d for d, same in apart if not same and d < 0.2 + 1.1]
        costly = max(len(pulls) + len(pushes), 1)
        total += (sum(pulls) + sum(pushes)) / costly
        gradient += (len(pushes) - len(pulls)) / costly
    loss_fn = MarginLoss(margin=0.2, beta=1.1)
    loss = loss_fn(anchors, labels)
    assert_close(loss.item(), total / 8, rtol=1e-6, atol=1e-6)
    loss.backward()
    assert_close(loss_fn.beta.grad.item(), gradient / 8)
    assert "beta" in loss_fn.state_dict()


def test_binomial_deviance_by_hand() -> None:
    """One positive at 0.5; negatives at √3/2 and −0.5."""
    angle = torch.tensor([0.0, 60.0, 30.0, 120.0], dtype=torch.float64).deg2rad()
    rows = torch.stack([angle.cos(), angle.sin()], 1)
    cost = lambda slope, s: math.log1p(math.exp(slope * (s - 0.6)))  # noqa: E731
    expected = cost(-2, 0.5) + (cost(40, math.sqrt(3) / 2) + cost(40, -0.5)) / 2
    loss_fn = BinomialDevianceLoss(base=0.6)
    found = loss_fn(rows[:1], torch.tensor([0]), ref_emb=rows[1:], ref_labels=torch.tensor([0, 1, 2]))
    assert_close(found.item(), expected)


def test_room_by_hand() -> None:
    """Positives at 0.9 and 0.5. With room 0.7, the first is left out of a mean, and counts as 0.7 in a logarithm."""
    refs = torch.tensor([[0.9, 0.19**0.5], [0.5, 0.75**0.5], [0.0, 1.0]], dtype=torch.float64)
    anchor, labels = torch.tensor([[1.0, 0.0]], dtype=torch.float64), torch.tensor([0, 0, 1])
    found = [
        float(loss_fn(anchor, torch.tensor([0]), ref_emb=refs, ref_labels=labels))
        for loss_fn in (ContrastiveLoss(), ContrastiveLoss(room=0.7), NTXentLoss(1.0, room=0.7))
    ]
    softplus = lambda x: math.log1p(math.exp(x))  # noqa: E731
    assert_close(found, [(0.1 + 0.5) / 2, 0.5, (softplus(-0.7) + softplus(-0.5)) / 2])


EXTREME = [ContrastiveLoss(), TripletLoss(), MultiSimilarityLoss(), BinomialDevianceLoss(), LiftedStructureLoss(64)]
EXTREME += [NPairLoss(64), NTXentLoss(0.01), SupConLoss(0.01), NCALoss(64), CircleLoss(scale=256), MarginLoss()]


@pytest.mark.parametrize("loss_fn", EXTREME, ids=str)
def test_finite_at_extreme_similarities(loss_fn: PairLoss) -> None:
    """All rows are at one point or its opposite, with the steepest settings in use, and in float32 as in training."""
    point = torch.tensor([[1.0, 0.0]])
    anchors = torch.cat([point, point, -point, -point]).requires_grad_()
    for labels in (torch.tensor([0, 0, 1, 1]), torch.tensor([0, 1, 0, 1]), torch.arange(4)):
        for loss in (loss_fn(anchors, labels), reference_loss(loss_fn, anchors, labels)):
            (gradient,) = torch.autograd.grad(loss, anchors)
            assert loss.isfinite()
            assert gradient.isfinite().all()
