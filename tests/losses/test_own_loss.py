"""Tests of a user's own loss outside the package: it works wherever a loss of the package does."""

import json
from pathlib import Path

import pytest
import torch
from pytorch_metric_learning.losses import SupConLoss as PMLSupCon
from torch import Tensor, nn
from torch.nn.functional import normalize, softplus
from torch.testing import assert_close

from crossbatch import CrossBatchLoss, CrossBatchMemory, PairLoss, check_loss, reference_loss
from crossbatch.__main__ import main
from crossbatch.errors import CrossBatchError, SettingError
from crossbatch.losses import LOSSES, Exponent, Sums
from crossbatch.losses.any_loss import AnyLoss

WRITTEN = """
import torch
from crossbatch import PairLoss


class Cubic(PairLoss):
    def __init__(self, power: int = 3) -> None:
        super().__init__()
        self.power, self.base = power, torch.nn.Parameter(torch.tensor(0.1))

    def negative(self, s):
        return (s - self.base).relu() ** self.power

    def positive(self, s, negatives):
        return (1 - s) * (1 + negatives.mean[:, None]) + self.base
"""
EXECUTED: dict[str, type] = {}
exec(compile(WRITTEN, "own_loss.py", "exec"), EXECUTED)
Cubic = EXECUTED["Cubic"]


LEARNT = {
    "sup-con": {"temperature": 0.2},
    "nt-xent": {"temperature": 0.2},
    "nca": {"scale": 8.0},
    "n-pair": {"scale": 8.0},
    "multi-similarity": {"alpha": 2.0, "beta": 20.0, "base": 0.4},
    "contrastive": {"neg_margin": 0.3},
    "lifted-structure": {"scale": 4.0, "neg_margin": 0.3},
    "binomial-deviance": {"alpha": 2.0, "beta": 20.0, "base": 0.4},
    "margin": {"margin": 0.2},
}


@pytest.mark.parametrize("name", LEARNT)
def test_a_number_of_a_loss_may_be_learnt(name: str) -> None:
    """Its gradient is the same as that of the plain form, however many columns are streamed at a time."""
    loss_fn = LOSSES[name]()
    for option, value in LEARNT[name].items():
        setattr(loss_fn, option, nn.Parameter(torch.tensor(value)))
    loss_fn.double()
    check_loss(loss_fn)
    loss_fn.width = 7
    loss = loss_fn(rows(24, 0), torch.arange(24) % 5, ref_emb=rows(60, 1), ref_labels=torch.arange(60) % 6)
    loss.backward()
    assert all(float(parameter.grad.abs()) > 0 for parameter in loss_fn.parameters())


def test_a_number_that_cannot_be_learnt_is_refused() -> None:
    loss_fn = LOSSES["sup-con"]()
    loss_fn.temperature = 1 / nn.Parameter(torch.tensor(5.0))
    with pytest.raises(SettingError, match="temperature of SupConLoss has a gradient and is no parameter of it"):
        loss_fn(rows(8, 0), torch.arange(8) % 2)
    for name, option in (("triplet", "margin"), ("circle", "margin"), ("circle", "scale")):
        loss_fn = LOSSES[name]()
        setattr(loss_fn, option, nn.Parameter(torch.tensor(0.2)))
        with pytest.raises(SettingError, match=f"{option} is a number and is not learnt, got a Parameter"):
            loss_fn(rows(8, 0), torch.arange(8) % 2)


class Temperature(PairLoss):
    """A learnt temperature, both inside a logarithm and directly."""

    log_negatives = log_positives = True

    def __init__(self) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.tensor(2.0))

    def negative(self, s: Tensor) -> Tensor:
        return self.log_scale.exp() * s

    def positive(self, s: Tensor, negatives) -> Tensor:
        return -self.log_scale.exp() * s

    def combine(self, positives, negatives) -> Tensor:
        return softplus(positives.total + negatives.total)


def rows(n: int, seed: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(n, 6, dtype=dtype, generator=torch.Generator().manual_seed(seed))


class Odd(PairLoss):
    """Costs that do not rise with the similarity, and a logarithm together with a mean over costly pairs."""

    log_negatives = log_positives = mean_of_positives = True

    def negative(self, s: Tensor) -> Tensor:
        return 200 * (s - 0.5) ** 2

    def positive(self, s: Tensor, negatives) -> Tensor:
        return 20 * (s - 0.1)

    def combine(self, positives, negatives) -> Tensor:
        return torch.logaddexp(positives.total, negatives.total) - positives.mean


class Constant(PairLoss):
    """Costs that do not depend on the similarities, only on a parameter."""

    def __init__(self) -> None:
        super().__init__()
        self.level = nn.Parameter(torch.tensor(0.5))

    def negative(self, s: Tensor) -> Tensor:
        return self.level.expand_as(s)

    def positive(self, s: Tensor, negatives) -> Tensor:
        return torch.ones_like(s)

    def combine(self, positives, negatives) -> Tensor:
        return positives.mean * negatives.total


class ItsOwnWeights(PairLoss):
    """The weights of the pairs are the similarities themselves, as the same tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.scales = nn.Parameter(torch.tensor([1.0, 2.0, 3.0]))

    def negative(self, s: Tensor) -> tuple[Tensor, Tensor]:
        return 1 + s * self.scales.sum(), s

    def positive(self, s: Tensor, negatives) -> tuple[Tensor, Tensor]:
        return 1 - s, s

    def combine(self, positives, negatives) -> Tensor:
        return positives.total + negatives.total + positives.weight - negatives.weight


def test_a_parameter_of_several_numbers_is_shown_by_its_shape() -> None:
    class Shown(ItsOwnWeights):
        def __init__(self, scales: int = 3) -> None:
            super().__init__()

    assert str(Shown()) == "Shown(scales=[3])"


def test_a_formula_that_cannot_be_is_told() -> None:
    with pytest.raises(SettingError, match="the scale of an Exponent must be above 0, got -2"):
        Exponent(-2.0)

    class NoMean(Temperature):
        def combine(self, positives, negatives) -> Tensor:
            return positives.mean

    with pytest.raises(SettingError, match="a side in a logarithm has a total and no mean"):
        NoMean()(torch.eye(4, dtype=torch.float32), torch.arange(4) % 2)


@pytest.mark.parametrize("make", [Odd, Constant, ItsOwnWeights])
def test_odd_formulas_are_the_same_streamed(make: type) -> None:
    for dtype in (torch.float32, torch.float64):
        loss_fn, embeddings, refs = make().to(dtype), rows(12, 0, dtype).requires_grad_(), rows(40, 1, dtype)
        given = {"ref_emb": refs.requires_grad_(), "ref_labels": torch.arange(40) % 5}
        found = []
        for width in (None, 7, 1):
            loss_fn.width = width
            value = loss_fn(embeddings, torch.arange(12) % 4, **given)
            leaves = [embeddings, refs, *loss_fn.parameters()]
            found.append([value, *torch.autograd.grad(value, leaves, materialize_grads=True)])
        for other in found[1:]:
            assert_close(other, found[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("make", [Cubic, Temperature])
@pytest.mark.parametrize("width", [None, 7])
@pytest.mark.parametrize("with_references", [False, True])
def test_equals_its_plain_form_in_value_and_every_gradient(
    make: type, width: int | None, with_references: bool
) -> None:
    loss_fn, embeddings, refs = make().double(), rows(12, 0).requires_grad_(), rows(40, 1).requires_grad_()
    given = {"ids": torch.arange(12) % 11}
    if with_references:
        given |= {"ref_emb": refs, "ref_labels": torch.arange(40) % 5, "ref_ids": torch.arange(40) % 30}
    plain = reference_loss(loss_fn, embeddings, torch.arange(12) % 4, **given)
    loss_fn.width = width
    found = loss_fn(embeddings, torch.arange(12) % 4, **given)
    leaves = [embeddings, *loss_fn.parameters(), *([refs] if with_references else [])]
    for ours, judged in zip(
        [found, *torch.autograd.grad(found, leaves)], [plain, *torch.autograd.grad(plain, leaves)], strict=True
    ):
        assert_close(ours, judged)
        assert ours.abs().sum() > 0


@pytest.mark.parametrize("make", [Cubic, Temperature])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_learns_over_a_memory(make: type, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    network, loss_fn = nn.Linear(6, 4), CrossBatchLoss(make(), CrossBatchMemory(64, 4))
    parameters = [*network.parameters(), *loss_fn.parameters()]
    optimizer, losses = torch.optim.SGD(parameters, lr=0.05), []
    centres = rows(4, 5, torch.float32)
    for step in range(40):
        labels = torch.arange(16) % 4
        images = centres[labels] + 0.3 * rows(16, step, torch.float32)
        with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
            loss = loss_fn(network(images), labels, ids=torch.arange(16) + step)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
        assert all(one.grad is not None and one.grad.isfinite().all() for one in parameters)
    assert sum(losses[-5:]) < 0.9 * sum(losses[5:10])


def test_any_module_with_references_is_a_loss() -> None:
    """The module does not get a second copy of an image, nor memory rows of the batch's images or of the batch."""
    given = []

    class Plain(nn.Module):
        def forward(self, embeddings, labels, ref_emb=None, ref_labels=None):
            given.append((labels, ref_labels))
            refs = embeddings if ref_emb is None else ref_emb
            return (normalize(embeddings) @ normalize(refs).T).square().mean()

    memory = CrossBatchMemory(64, 6)
    loss_fn = CrossBatchLoss(Plain(), memory, earlier_only=False)
    loss_fn(rows(6, 0), torch.arange(6) % 3, ids=torch.arange(6))
    embeddings = rows(4, 1).requires_grad_()
    value = loss_fn(embeddings, torch.tensor([0, 0, 1, 1]), ids=torch.tensor([2, 9, 10, 9]))
    within, over = given[-2:]
    assert within[0].tolist() == [0, 0, 1]  # the second row of image 9 is left out
    assert over[1].tolist() == [0, 1, 0, 1, 2]  # the first batch without image 2, and no row of the second batch
    assert torch.autograd.grad(value, embeddings)[0].abs().sum() > 0
    assert loss_fn.stats["memory_loss"] > 0


def test_images_that_nobody_knows_are_no_copies_of_each_other_for_any_module() -> None:
    terms, labels = [], torch.tensor([0, 0, 1, 1, 2, 2])
    for ids in (None, torch.full((6,), -1)):
        loss_fn = CrossBatchLoss(PMLSupCon(), CrossBatchMemory(size=12, dim=6))
        for seed in (1, 2):
            loss_fn(rows(6, seed), labels, ids=ids)
        terms.append(float(loss_fn.stats["memory_loss"]))
    assert terms[0] == terms[1] > 0


def test_from_the_command_line_by_its_path_and_from_a_run_folder_only_with_trust(
    tmp_path: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "own_loss.py").write_text(WRITTEN + "\nimport pathlib\npathlib.Path('imported').touch()\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    run = str(tmp_path / "run")
    small = [
        "--data",
        "folder",
        "--root",
        str(pictures),
        "--model.dim",
        "8",
        "--optim.steps",
        "2",
        "--batch.classes",
        "3",
    ]
    own = ["--loss", "own_loss.Cubic", "--loss.power", "2", "--drift.sample", "0", "--loop.accelerator", "cpu"]
    assert main(["train", *small, *own, "--batch.images", "2", "--out", run, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["loss"] == "own_loss.Cubic"
    (tmp_path / "imported").unlink()
    monkeypatch.delitem(__import__("sys").modules, "own_loss")
    assert main(["train", "--resume", run]) == 2
    assert "names classes to import, own_loss.Cubic" in capsys.readouterr().err
    assert main(["evaluate", run]) == 0
    assert main(["report", run]) == 0
    assert not (tmp_path / "imported").exists()
    assert main(["train", "--resume", run, "--trust"]) == 0
    assert (tmp_path / "imported").exists()
    assert main(["train", *small, "--loss", "own_loss.Nothing"]) == 2
    assert "--loss own_loss.Nothing cannot be imported" in capsys.readouterr().err
    assert main(["train", *small, "--loss", "collections.OrderedDict"]) == 2
    assert "--loss collections.OrderedDict is not a torch.nn.modules.module.Module" in capsys.readouterr().err


def test_any_module_trains_without_a_memory_too(
    tmp_path: Path, pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A comparison has such an arm."""
    theirs = ["--loss", "pytorch_metric_learning.losses.SupConLoss", "--drift.sample", "0", "--loop.accelerator", "cpu"]
    small = ["--data", "folder", "--root", str(pictures), "--model.dim", "8", "--batch.classes", "3", *theirs]
    for size in ("0", "100"):
        run = ["--out", str(tmp_path / size), "--memory.size", size, "--optim.steps", "2", "--json"]
        assert main(["train", *small, *run]) == 0
        assert json.loads(capsys.readouterr().out)["memory_rows"] == int(size)


def test_any_module_is_called_within_a_batch_as_by_its_comparison() -> None:
    """It gets the embeddings at any length, without a second copy of an image."""
    supcon, rows_, labels = PMLSupCon(), rows(6, 3), torch.tensor([0, 0, 1, 1, 0, 1])
    found = AnyLoss(supcon)(7 * rows_, labels, ids=torch.tensor([0, 1, 2, 3, 0, -1]))
    kept = [0, 1, 2, 3, 5]
    assert_close(found, supcon(rows_[kept], labels[kept]))


class Broken(PairLoss):
    """A formula with one of several mistakes, by name."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how

    def negative(self, s: Tensor):
        if self.how == "over columns":
            return (s - s.mean(1, keepdim=True)).relu()
        if self.how == "in place":
            return s.relu_()
        return s.relu().mean() if self.how == "one number" else s.relu()

    def positive(self, s: Tensor, negatives):
        return (1 - s) * (negatives.mean if self.how == "not of a row" else 1.0)


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ("over columns", "away from the plain form's: costs must be elementwise"),
        ("in place", "costs must be elementwise in s"),
        ("not of a row", r"needs \[:, None\]"),
        ("one number", r"the shape of s, \[17, 5\] here, got \[\]"),
    ],
)
def test_the_check_of_a_loss_says_what_is_wrong(how: str, told: str) -> None:
    with pytest.raises(CrossBatchError, match=told):
        check_loss(Broken(how))


@pytest.mark.parametrize("loss_fn", [Cubic(), Temperature(), Broken("in nothing"), *(one() for one in LOSSES.values())])
def test_the_check_accepts_a_loss_that_is_right(loss_fn: PairLoss) -> None:
    before = {name: value.clone() for name, value in loss_fn.named_parameters()}
    check_loss(loss_fn)
    assert all(torch.equal(value, before[name]) for name, value in loss_fn.named_parameters())
    assert loss_fn.width is None


class Wrong(torch.autograd.Function):
    """Twice the right gradient if the columns are streamed in blocks."""

    @staticmethod
    def forward(ctx, s: Tensor) -> Tensor:
        ctx.factor = 2.0 if s.shape[1] < 10 else 1.0
        return s.clone()

    @staticmethod
    def backward(ctx, by: Tensor) -> Tensor:
        return by * ctx.factor


def test_the_check_compares_gradients() -> None:
    class Off(Broken):
        def positive(self, s: Tensor, negatives):
            return 1 - Wrong.apply(s)

    with pytest.raises(SettingError, match="the gradient of Off"):
        check_loss(Off("in a gradient"))


class Forgot(PairLoss):
    """Uses the nearest negative without declaring it."""

    def negative(self, s: Tensor) -> Tensor:
        return s.relu()

    def positive(self, s: Tensor, negatives: Sums) -> Tensor:
        return (negatives.nearest[:, None] - s).relu()


class Untupled(Forgot):
    """Returns a tensor where a tuple is needed."""

    def context(self, farthest_positive: Tensor) -> Tensor:
        return farthest_positive

    def negative(self, s: Tensor, farthest: Tensor) -> Tensor:
        return (s - farthest[:, None]).relu()


@pytest.mark.parametrize(
    ("loss", "message"),
    [(Forgot(), "set nearest_negative = True"), (Untupled(), "context of Untupled returns a tensor")],
)
def test_usual_mistakes_are_told_in_a_sentence(loss: PairLoss, message: str) -> None:
    with pytest.raises(SettingError, match=message):
        check_loss(loss)


def test_a_loss_that_takes_no_references_is_refused_before_the_memory_counts() -> None:
    with pytest.raises(SettingError, match="CrossEntropyLoss takes no ref_emb"):
        CrossBatchLoss(nn.CrossEntropyLoss(), CrossBatchMemory(4, 2))


def test_the_judge_is_not_rounded_by_autocast() -> None:
    rows, labels = torch.randn(12, 8), torch.arange(12) % 3
    expected = reference_loss(Cubic(), rows, labels)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(reference_loss(Cubic(), rows, labels), expected)
