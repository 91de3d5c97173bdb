"""Adapt any loss module that takes references to the interface of this package's losses."""

import inspect
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn

from crossbatch.errors import SettingError
from crossbatch.losses.comparing import Comparing
from crossbatch.losses.pairing import Pairing
from crossbatch.precision import without_autocast


class AnyLoss(Comparing):
    """Adapter for a loss module called `(embeddings, labels, ref_emb=, ref_labels=)`.

    Such a module does not know which rows show the same image. Against references, the adapter therefore leaves out
    references that are rows of the batch or show an image of the batch. Within a batch it keeps one row per image.
    The module decides what an anchor without a pair contributes. If only anchors with a positive count, the adapter
    leaves out the other anchors and multiplies the loss by the share of anchors that count.
    """

    def __init__(self, loss: nn.Module) -> None:
        super().__init__()
        self.loss, self.tried = loss, False

    def compare(self, anchors: Tensor, refs: Tensor, pairing: Pairing) -> Tensor:
        """Compute the loss of unit-length anchors against unit-length references, all of them in this process."""
        ids = pairing.ids
        if not len(anchors):
            self.per_anchor = {"anchors": anchors.new_zeros(1)}
            return anchors.sum()
        if refs is anchors:
            kept = torch.ones(len(anchors), dtype=torch.bool, device=anchors.device)
            if ids is not None:
                kept = ~(ids[:, None] == ids).tril(-1).any(1)
            self._try_references(anchors[kept].detach(), pairing.labels[kept])
            with without_autocast(anchors.device):
                return self._scalar(self.loss(anchors[kept], pairing.labels[kept]))
        kept = torch.ones_like(pairing.ref_labels, dtype=torch.bool) if pairing.live is None else pairing.live
        if ids is not None and pairing.ref_ids is not None:
            kept = kept & ~torch.isin(pairing.ref_ids, ids)
        rows, labels = refs[kept].to(anchors), pairing.ref_labels[kept]
        counted = torch.ones_like(pairing.labels, dtype=torch.bool)
        if pairing.with_positive_only:
            counted = torch.isin(pairing.labels, labels)
        share = counted.float().mean()
        self.per_anchor = {"anchors": share}
        if not counted.any() or not len(rows):
            return 0 * anchors.sum()
        with without_autocast(anchors.device):
            loss = self.loss(anchors[counted], pairing.labels[counted], ref_emb=rows, ref_labels=labels)
        return share * self._scalar(loss)

    def _scalar(self, loss: Any) -> Tensor:
        if not isinstance(loss, Tensor) or loss.numel() != 1:
            kind = f"a tensor {list(loss.shape)}" if isinstance(loss, Tensor) else type(loss).__name__
            raise SettingError(f"{type(self.loss).__name__} returns {kind}: a loss returns one number, as a tensor")
        return loss

    def _try_references(self, rows: Tensor, labels: Tensor) -> None:
        """Refuse a module that takes no references at the first batch, long before the memory counts.

        A copy of the module is called. Only an error about references refuses the module. Any other error may be due to
        this batch alone.
        """
        if self.tried or not len(rows):
            return
        try:
            trial = deepcopy(self.loss)
            with torch.enable_grad(), torch.random.fork_rng([]), without_autocast(rows.device):
                trial(rows.clone().requires_grad_(), labels, ref_emb=rows.clone(), ref_labels=labels.clone())
        except Exception as error:
            if isinstance(error, NotImplementedError) or "ref_emb" in str(error):
                fault = f"{type(self.loss).__name__} cannot compare with a memory ({str(error) or 'not implemented'})"
                raise SettingError(f"{fault}: a loss is called (embeddings, labels, ref_emb=, ref_labels=)") from error
        self.tried = True


def comparing(loss: nn.Module) -> Comparing:
    """Return the loss itself if it is a `Comparing`, as all losses of this package are; else an `AnyLoss` around it."""
    if not isinstance(loss, nn.Module):
        kind = f"the class {loss.__name__}: call it" if isinstance(loss, type) else type(loss).__name__
        raise SettingError(f"a loss is a module, as ContrastiveLoss(), got {kind}")
    loss = getattr(loss, "_orig_mod", loss)  # the module under torch.compile: a compiled loss gains nothing
    if isinstance(loss, Comparing):
        return loss
    parameters = inspect.signature(loss.forward).parameters
    if "ref_emb" not in parameters and all(entry.kind != entry.VAR_KEYWORD for entry in parameters.values()):
        raise SettingError(
            f"{type(loss).__name__} takes no ref_emb, so it cannot compare with a memory: "
            "a loss is called (embeddings, labels, ref_emb=, ref_labels=)"
        )
    return AnyLoss(loss)
