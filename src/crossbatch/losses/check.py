"""Check that a loss you wrote gives the same result over a memory as its plain formula."""

from copy import deepcopy

import torch
from torch import Tensor
from torch.nn.functional import normalize

from crossbatch.errors import SettingError
from crossbatch.losses.pair_loss import PairLoss
from crossbatch.losses.reference import reference_loss

CLASSES, DIM, WIDTH = 7, 8, 5  # the last class has one anchor and no reference: that anchor has no positive
WHY = (
    "costs must be elementwise in s [anchors, pairs], finite from -1 to 1 and not written in place; "
    "a value per anchor, such as negatives.mean, needs [:, None]"
)


def check_loss(loss_fn: PairLoss) -> None:
    """Refuse a loss whose streamed form differs from its plain form in value or in a gradient.

    The check compares a batch with itself, and with references near and far. It streams a few columns at a time, in
    double precision. Call it in a test of the loss.

    Raises:
        SettingError: The forms differ; the message says where, and the usual reasons.

    Examples:
        >>> check_loss(ContrastiveLoss(neg_margin=0.4))
    """
    if not isinstance(loss_fn, PairLoss):
        raise SettingError(f"check_loss takes a PairLoss, as ContrastiveLoss(), got {type(loss_fn).__name__}")
    loss_fn = deepcopy(loss_fn).double()
    loss_fn.width = WIDTH
    anchors, labels = _drawn(17, CLASSES, seed=0)
    refs, ref_labels = _drawn(33, CLASSES - 1, seed=1)
    for against, others in (("itself", ()), ("references", (refs, ref_labels))):
        leaves = [anchors, *others[:1], *(parameter for parameter in loss_fn.parameters() if parameter.requires_grad)]
        try:
            streamed = loss_fn(anchors, labels, **dict(zip(("ref_emb", "ref_labels"), others, strict=False)))
            plain = reference_loss(loss_fn, anchors, labels, *others)
            gradients = [torch.autograd.grad(loss, leaves, materialize_grads=True) for loss in (streamed, plain)]
        except (RuntimeError, IndexError, TypeError) as error:
            reason = str(error).split("\n")[0]
            raise SettingError(f"{loss_fn} fails on a batch against {against} ({reason}): {WHY}") from error
        values = [("value", streamed, plain), *(("gradient", *pair) for pair in zip(*gradients, strict=True))]
        for quantity, actual, expected in values:
            if not torch.allclose(actual, expected, rtol=1e-7, atol=1e-9):
                gap = (actual - expected).abs().max().item()
                raise SettingError(
                    f"the {quantity} of {loss_fn}, a batch against {against}, is {gap:.2g} away from the plain form's: "
                    f"{WHY}"
                )


def _drawn(count: int, classes: int, seed: int) -> tuple[Tensor, Tensor]:
    """Draw rows around the centre of each class, two of three near it, so that pairs have every distance."""
    draw = torch.Generator().manual_seed(seed)
    centres = torch.randn(CLASSES, DIM, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    labels = torch.arange(count) % classes
    labels[labels == CLASSES - 1] = 0
    labels[-1] = classes - 1
    spread = torch.where(torch.arange(count) % 3 == 0, 2.0, 0.4)[:, None]
    rows = centres[labels] + spread * torch.randn(count, DIM, generator=draw, dtype=torch.float64)
    return normalize(rows).requires_grad_(), labels
