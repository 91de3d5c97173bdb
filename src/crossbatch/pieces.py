"""A batch larger than memory: the network sees it a piece at a time, and each piece again in the backward pass."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

from crossbatch.errors import SettingError


def embed_in_pieces(model: nn.Module, images: Tensor, size: int) -> Tensor:
    """`model(images)`, with the activations of `size` images in memory rather than those of all.

    A piece keeps nothing but what it gave; the loss is taken over the whole batch, and in its backward pass each piece
    is embedded again, with the same dropout and the same autocast, and gives its gradient. The gradient is that of the
    whole batch, for the time of a further forward pass. Random numbers that are not drawn from torch's own generators
    are drawn anew. Raises `SettingError` for BatchNorm in training mode: its statistics would be those of a piece.
    Source: gradient caching, Gao et al., 2021, and Chen et al., 2016, whose checkpoints torch has.

    Examples:
        >>> loss = loss_fn(embed_in_pieces(model, images, 64), labels, ids=ids)
        >>> loss.backward()
    """
    if size < 1:
        raise SettingError(f"a piece has at least 1 image, got {size}")
    if len(images) <= size:
        return _called(model, images)
    refuse_batch_norm(model, size, len(images))
    run: Callable[[nn.Module, Tensor], Tensor] = _called
    return torch.cat([checkpoint(run, model, piece, use_reentrant=False) for piece in images.split(size)])


def refuse_batch_norm(model: nn.Module, size: int, images: int) -> None:
    """Refuse a model whose BatchNorm layers would see pieces of a batch."""
    names = [name for name, one in model.named_modules() if isinstance(one, _BatchNorm) and one.training]
    if names:
        raise SettingError(
            f"{len(names)} BatchNorm layers, the first is {names[0]!r}, would see the statistics of {size} images "
            f"and not of {images}: keep them in evaluation mode, or take a network without (on the command line "
            "--model.freeze_bn true, and --model.pooling avg where the pooling has one)"
        )


def _called(model: nn.Module, images: Tensor) -> Tensor:
    embedded: Tensor = model(images)
    return embedded
