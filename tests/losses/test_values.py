"""Values worked out by hand, by a loop, and by an independent library."""

import math

import pytest
import pytorch_metric_learning.losses as pml
import torch
from torch.nn.functional import normalize
from torch.testing import assert_close

from crossbatch import ContrastiveLoss, MultiSimilarityLoss


def test_contrastive_by_hand() -> None:
    """Angles 0°, 60° (class 0) and 30° (class 1): s01 = 0.5, s02 = s12 = √3/2."""
    angle = torch.tensor([0.0, 60.0, 30.0]).deg2rad()
    rows, labels = torch.stack([angle.cos(), angle.sin()], 1), torch.tensor([0, 0, 1])
    push = math.sqrt(3) / 2 - 0.5
    assert_close(ContrastiveLoss()(rows, labels).item(), (2 * (0.5 + push) + push) / 3, rtol=1e-5, atol=1e-5)
    total = ContrastiveLoss(reduction="sum")(rows, labels).item()
    assert_close(total, (2 * (0.5 + push) + 2 * push) / 3, rtol=1e-5, atol=1e-5)


def test_the_sum_has_the_gradient_of_the_authors() -> None:
    """A loop over anchors, as the paper tells it: Σ(1 − s) over positives, Σ s over negatives above 0.5."""
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
    """Their multi-similarity has no mining of its own; an ε beyond every cosine mines nothing away."""
    torch.manual_seed(0)
    anchors, labels = torch.randn(12, 8, dtype=torch.float64), torch.arange(12) % 4
    refs = {"ref_emb": torch.randn(30, 8, dtype=torch.float64), "ref_labels": torch.randint(4, (30,))}
    refs = refs if with_references else {}
    theirs = pml.MultiSimilarityLoss(alpha=2, beta=50, base=0.5)(anchors, labels, **refs)
    assert_close(MultiSimilarityLoss(epsilon=3)(anchors, labels, **refs), theirs)
