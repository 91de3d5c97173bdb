"""Embed a batch too large for memory: a piece at a time, and each piece again in the backward pass."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

from crossbatch.errors import SettingError


def embed_in_pieces(model: nn.Module, images: Tensor, size: int) -> Tensor:
    """Compute `model(images)` with the activations of only `size` images in memory at once.

    Each piece keeps only its embeddings, and the loss is computed over the whole batch. In the backward pass each piece
    is embedded again, with the same dropout and autocast, and its gradient is added. The result is the gradient of the
    whole batch, at the cost of one more forward pass. Random numbers from other generators than torch's own differ
    between the two passes. Raises `SettingError` for BatchNorm in training mode: its statistics would be of one piece.
    Source: gradient caching, Gao et al., 2021; checkpointing, Chen et al., 2016, as in `torch.utils.checkpoint`.

    Examples:
        >>> loss = loss_fn(embed_in_pieces(model, images, 64), labels, ids=ids)
        >>> loss.backward()
    """
    if not isinstance(model, nn.Module):
        raise SettingError(f"embed_in_pieces takes a module, got a {type(model).__name__}: wrap it in an nn.Module")
    if size < 1:
        raise SettingError(f"a piece has at least 1 image, got {size}")
    if len(images) <= size:
        return _called(model, images)
    refuse_batch_norm(model, size, len(images))
    run: Callable[[nn.Module, Tensor], Tensor] = _called
    return torch.cat([checkpoint(run, model, piece, use_reentrant=False) for piece in images.split(size)])


def learning_batch_norms(model: nn.Module) -> list[str]:
    """Names of the BatchNorm layers in training mode, which use the statistics of a batch."""
    return [name for name, layer in model.named_modules() if isinstance(layer, _BatchNorm) and layer.training]


def refuse_batch_norm(model: nn.Module, size: int, images: int) -> None:
    """Refuse a model with BatchNorm layers in training mode: their statistics would be those of a piece."""
    names = learning_batch_norms(model)
    if names:
        raise SettingError(
            f"{len(names)} BatchNorm layers, the first is {names[0]!r}, would see the statistics of {size} images "
            f"and not of {images}: keep them in evaluation mode, or take a network without (on the command line "
            "--model.freeze_bn true, and --model.pooling avg where the pooling has one)"
        )


def _called(model: nn.Module, images: Tensor) -> Tensor:
    embedded = model(images)
    if not isinstance(embedded, Tensor):
        raise SettingError(
            f"the model returns a {type(embedded).__name__}: wrap it in a module that returns embeddings"
        )
    return embedded
