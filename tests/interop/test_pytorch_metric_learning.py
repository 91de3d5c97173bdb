"""Tests that their losses on our memory equal a loop over valid pairs, and that our losses work behind their call."""

import pytest
import pytorch_metric_learning.losses as theirs
import torch
from pytorch_metric_learning.distances import CosineSimilarity
from pytorch_metric_learning.miners import (
    BaseMiner,
    BatchEasyHardMiner,
    BatchHardMiner,
    DistanceWeightedMiner,
    MultiSimilarityMiner,
    TripletMarginMiner,
)
from torch.nn.functional import normalize
from torch.testing import assert_close

from crossbatch import (
    ContrastiveLoss,
    CrossBatchLoss,
    CrossBatchMemory,
    MatryoshkaLoss,
    MultiSimilarityLoss,
    SupConLoss,
    TripletLoss,
)
from crossbatch.errors import SettingError, ShapeError
from crossbatch.interop.pytorch_metric_learning import CalledLikePML, PMLLoss
from crossbatch.losses import Pairing


def rows(n: int, seed: int = 0) -> torch.Tensor:
    return normalize(torch.randn(n, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)))


def setting() -> tuple[torch.Tensor, torch.Tensor, Pairing]:
    """References with the anchors' own rows, copies of images, and empty slots."""
    anchors, refs = rows(8), rows(30, 1)
    own, live = torch.arange(20, 28), torch.rand(30) > 0.2
    live[own] = True
    refs[own] = anchors
    labels, ref_labels = torch.arange(8) % 3, torch.randint(4, (30,))
    ref_labels[own] = labels
    ids, ref_ids = torch.arange(8), torch.randint(100, 130, (30,))
    ref_ids[own], ref_ids[:3] = ids, ids[:3]
    ref_labels[:3], live[:3] = labels[:3], True
    return anchors, refs, Pairing(labels, ref_labels, ids, ref_ids, own, live)


@pytest.mark.parametrize(
    ("their_loss", "our_loss"),
    [
        (theirs.MultiSimilarityLoss(alpha=2, beta=50, base=0.5), MultiSimilarityLoss(epsilon=3)),
        (theirs.SupConLoss(temperature=0.2), SupConLoss(temperature=0.2)),
    ],
    ids=["multi-similarity", "sup-con"],
)
def test_their_loss_leaves_out_what_ours_does(their_loss: torch.nn.Module, our_loss: torch.nn.Module) -> None:
    anchors, refs, pairing = setting()
    assert_close(PMLLoss(their_loss).compare(anchors, refs, pairing), our_loss.compare(anchors, refs, pairing))
    everything = their_loss(anchors, pairing.labels, None, refs, pairing.ref_labels)
    assert not torch.isclose(everything, our_loss.compare(anchors, refs, pairing))


@pytest.mark.parametrize(
    "miner", [MultiSimilarityMiner(), TripletMarginMiner(0.3, distance=CosineSimilarity()), BatchHardMiner()], ids=type
)
def test_mined_pairs_are_shifted_and_none_is_ignored(miner: torch.nn.Module, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pairs that reach their loss have the right classes, and none is a row with itself, a copy or an empty slot."""
    anchors, refs, pairing = setting()
    seen = []

    class Spy(theirs.TripletMarginLoss):
        def compute_loss(self, embeddings, labels, indices_tuple, ref_emb, ref_labels):
            seen.append((indices_tuple, ref_emb, ref_labels))
            return super().compute_loss(embeddings, labels, indices_tuple, ref_emb, ref_labels)

    loss = PMLLoss(Spy(), miner)
    loss.compare(anchors, refs, pairing)
    ((indices, ref_emb, ref_labels),) = seen
    shown = ~torch.isin(pairing.ref_ids, pairing.ids)
    shown[pairing.own_slots] = True  # a row of the batch is shown, older copies of it are not
    shown &= pairing.live
    assert torch.equal(ref_emb, refs[shown])
    kept_ids = pairing.ref_ids[shown]
    of_pos, pos, of_neg, neg = (indices[0], indices[1], indices[-3 if len(indices) == 4 else 0], indices[-1])
    if len(indices) == 4:
        of_neg = indices[2]
    assert len(pos)
    assert (pairing.labels[of_pos] == ref_labels[pos]).all()
    assert (pairing.labels[of_neg] != ref_labels[neg]).all()
    assert (pairing.ids[of_pos] != kept_ids[pos]).all()
    assert loss.stats["positives"] == len(pos) / 8


@pytest.mark.parametrize("miner", [BatchEasyHardMiner(), BatchEasyHardMiner("easy", "hard"), BatchHardMiner()], ids=str)
def test_a_batch_is_mined_as_theirs_is(miner: BaseMiner) -> None:
    """The easiest positive is neither the row itself nor its older row in the memory."""
    loss, embeddings, labels = theirs.TripletMarginLoss(), rows(16), torch.arange(16) % 4
    expected = loss(embeddings, labels, miner(embeddings, labels))
    ours = PMLLoss(loss, miner)
    assert_close(ours.compare(embeddings, embeddings, Pairing.within(labels)), expected)
    assert ours.stats["positives"] > 0
    loss_fn = CrossBatchLoss(ours, CrossBatchMemory(40, 8))
    for ids in (torch.arange(16), torch.arange(16, 32), torch.arange(16)):
        loss_fn(embeddings.float(), labels, ids=ids)
    assert loss_fn.stats["memory_positives"] > 0
    small = CrossBatchLoss(ours, CrossBatchMemory(16, 8))
    for _ in range(3):  # the memory holds only the batch's own images
        assert small(embeddings.float(), labels, ids=torch.arange(16)).isfinite()
    assert small.stats["memory_positives"] == 0


def test_autocast_rounds_nothing() -> None:
    embeddings, labels = rows(12).float(), torch.arange(12) % 4
    mined = MultiSimilarityMiner()(embeddings, labels)
    expected = CalledLikePML(ContrastiveLoss())(embeddings, labels, mined)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(CalledLikePML(ContrastiveLoss())(embeddings, labels, mined), expected)


def test_over_a_memory_in_training() -> None:
    loss_fn = CrossBatchLoss(PMLLoss(theirs.TripletMarginLoss(), MultiSimilarityMiner()), CrossBatchMemory(40, 8))
    for step in range(6):
        embeddings = rows(12, step).float().requires_grad_()
        loss = loss_fn(embeddings, torch.arange(12) % 4, ids=torch.arange(12) + step)
        loss.backward()
        assert embeddings.grad.isfinite().all()
    assert loss > 0
    assert set(loss_fn.stats) > {"memory_positives", "memory_negatives", "batch_positives"}


def test_a_loss_that_reads_the_memory_in_its_backward_pass() -> None:
    loss_fn = CrossBatchLoss(PMLLoss(theirs.AngularLoss()), CrossBatchMemory(40, 8))
    for step in range(3):
        embeddings = rows(12, step).float().requires_grad_()
        loss_fn(embeddings, torch.arange(12) % 4).backward()
        assert embeddings.grad.isfinite().all()


@pytest.mark.parametrize("miner", [None, MultiSimilarityMiner(), BatchHardMiner(), DistanceWeightedMiner()], ids=str)
def test_over_a_memory_without_a_positive(miner: BaseMiner | None) -> None:
    """Before the first batch and for new classes no anchor counts; then all anchors with a positive count."""
    loss_fn = CrossBatchLoss(PMLLoss(theirs.ContrastiveLoss(), miner), CrossBatchMemory(40, 8))
    for step, first in enumerate([4, 8, 6]):
        embeddings = rows(8, step).float().requires_grad_()
        loss_fn(embeddings, torch.arange(8) // 2 + first).backward()
        assert embeddings.grad.isfinite().all()
        assert loss_fn.stats["memory_anchors"] == [0, 0, 1][step]
        assert (loss_fn.stats["memory_positives"] > 0) == (step == 2)


def test_anchors_without_a_positive_in_the_memory_enter_the_mean_as_nothing() -> None:
    """One anchor of four has a positive in the memory: the loss is a quarter of that of this anchor alone."""
    their_loss, memory = theirs.SupConLoss(), CrossBatchMemory(16, 8)
    loss_fn = CrossBatchLoss(PMLLoss(their_loss), memory)
    loss_fn(rows(3).float(), torch.tensor([0, 0, 1]))
    held, anchors = memory.embeddings.clone(), rows(4, 1).float()
    loss_fn(anchors, torch.tensor([0, 5, 5, 6]))
    alone = their_loss(anchors[:1], torch.tensor([0]), None, held, torch.tensor([0, 0, 1]))
    assert_close(loss_fn.stats["memory_loss"], alone / 4)
    assert loss_fn.stats["memory_anchors"] == 0.25


def test_copies_of_an_image_are_in_no_triplet_together_whoever_mines() -> None:
    """Rows 0 and 3 are one image with two labels by mistake. Neither may be the negative of the other."""
    seen = []

    class Spy(theirs.TripletMarginLoss):
        def compute_loss(self, embeddings, labels, indices_tuple, ref_emb, ref_labels):
            seen.append(indices_tuple)
            return super().compute_loss(embeddings, labels, indices_tuple, ref_emb, ref_labels)

    ids = torch.tensor([9, 1, 2, 9])
    PMLLoss(Spy(), TripletMarginMiner(2.0))(rows(4), torch.tensor([0, 0, 1, 1]), ids=ids)
    ((anchors, positives, negatives),) = seen
    assert len(anchors) > 0
    assert (ids[anchors] != ids[positives]).all()
    assert (ids[anchors] != ids[negatives]).all()


@pytest.mark.parametrize("loss", [ContrastiveLoss(neg_margin=0.1), TripletLoss(margin=0.3), MultiSimilarityLoss()])
def test_our_loss_behind_their_call(loss: torch.nn.Module) -> None:
    embeddings, labels, refs, ref_labels = rows(8), torch.arange(8) % 3, rows(20, 1), torch.randint(3, (20,))
    ours = CalledLikePML(loss)
    assert_close(ours(embeddings, labels), loss(embeddings, labels))
    whole = loss(embeddings, labels, ref_emb=refs, ref_labels=ref_labels)
    assert_close(ours(embeddings, labels, None, refs, ref_labels), whole)
    same = labels[:, None] == ref_labels
    pairs = (*same.nonzero().unbind(1), *(~same).nonzero().unbind(1))
    assert_close(ours(embeddings, labels, pairs, refs, ref_labels), whole)
    with pytest.raises(ShapeError, match="points beyond 8 anchors and 8 references"):
        ours(embeddings, labels, pairs)


def test_our_loss_of_the_pairs_their_miner_finds() -> None:
    """Their multi-similarity miner keeps the same pairs as the mining inside our loss."""
    embeddings, labels = rows(12), torch.arange(12) % 4
    mined = MultiSimilarityMiner(epsilon=0.1)(embeddings, labels)
    found = CalledLikePML(MultiSimilarityLoss(epsilon=3))(embeddings, labels, mined)
    assert_close(found, MultiSimilarityLoss(epsilon=0.1)(embeddings, labels))
    triplets = TripletMarginMiner(0.3, distance=CosineSimilarity())(embeddings, labels)
    assert CalledLikePML(TripletLoss(margin=0.3))(embeddings, labels, triplets) > 0


def test_says_what_does_not_fit() -> None:
    with pytest.raises(SettingError, match=r"ProxyAnchorLoss cannot compare chosen pairs with a memory: take Angular"):
        PMLLoss(theirs.ProxyAnchorLoss(num_classes=3, embedding_size=8))
    with pytest.raises(SettingError, match="NCALoss cannot"):
        PMLLoss(theirs.NCALoss())
    for loss, miner in ((None, None), (theirs.ContrastiveLoss, None), (ContrastiveLoss(), None)):
        with pytest.raises(SettingError, match="PMLLoss takes a loss of pytorch-metric-learning, as Triplet"):
            PMLLoss(loss, miner)
    with pytest.raises(SettingError, match="PMLLoss takes a miner of theirs, as MultiSim"):
        PMLLoss(theirs.ContrastiveLoss(), MultiSimilarityMiner)
    with pytest.raises(SettingError, match="CalledLikePML takes a PairLoss, as Contr"):
        CalledLikePML(MatryoshkaLoss(ContrastiveLoss(), [4, 8]))
    one, none = torch.tensor([-1]), torch.tensor([], dtype=torch.int64)
    with pytest.raises(ShapeError, match="points beyond 4 anchors"):
        CalledLikePML(ContrastiveLoss())(rows(4), torch.arange(4), (one, one, none, none))


def test_a_loss_of_theirs_without_references_is_refused_at_the_first_batch() -> None:
    """It must not fail only when the memory starts to count, hours later."""
    for loss in (theirs.ProxyAnchorLoss(4, 8), theirs.NPairsLoss()):
        loss_fn = CrossBatchLoss(loss, CrossBatchMemory(40, 8), warmup_steps=5)
        with pytest.raises(SettingError, match=r"Loss cannot compare with a memory \(ref_emb is not supported"):
            loss_fn(rows(12).float(), torch.arange(12) % 4)


@pytest.mark.usefixtures("as_users_run_it")
def test_a_memory_or_loss_used_as_theirs_is_told_how() -> None:
    for call in (
        lambda: CrossBatchMemory(theirs.ContrastiveLoss(), 128, 1024),
        lambda: CrossBatchMemory(loss=ContrastiveLoss(), embedding_size=128),
    ):
        with pytest.raises(SettingError, match=r"CrossBatchLoss\(loss, CrossBatchMemory\(size=…, dim=…\)\)"):
            call()
    with pytest.raises(SettingError, match=r"is not called: CrossBatchLoss\(loss, memory\)"):
        CrossBatchMemory(4, 8)(rows(2), torch.arange(2))


def test_a_loss_of_theirs_is_taken_as_it_is() -> None:
    """Their loss ignores ids, so the older rows of the batch's images are left out of its references."""
    loss_fn = CrossBatchLoss(theirs.SupConLoss(), CrossBatchMemory(40, 8), batch_weight=0)
    loss_fn(rows(12, 1).float(), torch.arange(12) % 4, ids=torch.arange(12))
    embeddings, labels, ids = rows(12, 2).float(), torch.arange(12) % 4, torch.arange(12) + 6
    kept = loss_fn.memory.ids < 6
    held = loss_fn.memory.embeddings[kept].clone(), loss_fn.memory.labels[kept].clone()
    found = loss_fn(embeddings, labels, ids=ids)
    assert_close(found, theirs.SupConLoss()(embeddings, labels, ref_emb=held[0], ref_labels=held[1]))


@pytest.mark.parametrize("miner", [None, MultiSimilarityMiner(), BatchHardMiner(), TripletMarginMiner()], ids=str)
@pytest.mark.parametrize("loss", [theirs.MultiSimilarityLoss(), theirs.TripletMarginLoss()], ids=str)
def test_their_memory_is_reproduced_with_all_anchors_and_no_batch_term(
    loss: torch.nn.Module, miner: BaseMiner | None
) -> None:
    labels = torch.arange(4).repeat_interleave(4)
    their_memory = theirs.CrossBatchMemory(loss, 8, memory_size=40, miner=miner)
    ours = CrossBatchLoss(PMLLoss(loss, miner), CrossBatchMemory(40, 8), batch_weight=0, earlier_only=False)
    for step in range(5):
        embeddings = normalize(rows(16, seed=step) + labels[:, None])
        assert ours(embeddings, labels).item() == pytest.approx(their_memory(embeddings, labels).item(), rel=1e-4)
