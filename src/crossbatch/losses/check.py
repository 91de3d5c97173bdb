"""Whether a loss of your own computes over a memory what its formula says."""

from copy import deepcopy

import torch
from torch import Tensor
from torch.nn.functional import normalize

from crossbatch.errors import SettingError
from crossbatch.losses.pair_loss import PairLoss
from crossbatch.losses.reference import reference_loss

CLASSES, DIM, WIDTH = 7, 8, 5  # the last class has one anchor, and no reference: it finds no positive
WHY = (
    "costs must be elementwise in s [anchors, pairs], finite from -1 to 1 and not written in place; "
    "what is of an anchor alone, as negatives.mean, needs [:, None]"
)


def check_loss(loss_fn: PairLoss) -> None:
    """Refuse a loss of your own whose streamed form differs from its plain one, in value or in a gradient.

    A batch is compared with itself and with references of another number, near and far, some columns at a time, in
    double precision. Call it in a test.

    Raises:
        SettingError: What differs, and the usual reasons.

    Examples:
        >>> check_loss(ContrastiveLoss(neg_margin=0.4))
    """
    if not isinstance(loss_fn, PairLoss):
        raise SettingError(f"check_loss takes a PairLoss, as ContrastiveLoss(), got {str(loss_fn)[:80]}")
    loss_fn = deepcopy(loss_fn).double()
    loss_fn.width = WIDTH
    anchors, labels = _drawn(17, CLASSES, seed=0)
    refs, ref_labels = _drawn(33, CLASSES - 1, seed=1)
    for against, given in (("itself", ()), ("references", (refs, ref_labels))):
        asked = [anchors, *given[:1], *(one for one in loss_fn.parameters() if one.requires_grad)]
        try:
            streamed = loss_fn(anchors, labels, **dict(zip(("ref_emb", "ref_labels"), given, strict=False)))
            plain = reference_loss(loss_fn, anchors, labels, *given)
            gradients = [torch.autograd.grad(one, asked, materialize_grads=True) for one in (streamed, plain)]
        except (RuntimeError, IndexError, TypeError) as error:
            reason = str(error).split("\n")[0]
            raise SettingError(f"{loss_fn} fails on a batch against {against} ({reason}): {WHY}") from error
        values = [("value", streamed, plain), *(("gradient", *pair) for pair in zip(*gradients, strict=True))]
        for what, one, other in values:
            if not torch.allclose(one, other, rtol=1e-7, atol=1e-9):
                apart = (one - other).abs().max().item()
                raise SettingError(
                    f"the {what} of {loss_fn}, a batch against {against}, is {apart:.2g} away from the plain form's: "
                    f"{WHY}"
                )


def _drawn(count: int, classes: int, seed: int) -> tuple[Tensor, Tensor]:
    """Rows around a centre of each class, two in three near it: positives and negatives at every distance."""
    draw = torch.Generator().manual_seed(seed)
    centres = torch.randn(CLASSES, DIM, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    labels = torch.arange(count) % classes
    labels[labels == CLASSES - 1] = 0
    labels[-1] = classes - 1
    spread = torch.where(torch.arange(count) % 3 == 0, 2.0, 0.4)[:, None]
    rows = centres[labels] + spread * torch.randn(count, DIM, generator=draw, dtype=torch.float64)
    return normalize(rows).requires_grad_(), labels
