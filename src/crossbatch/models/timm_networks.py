"""timm's networks by name, the image settings that they were trained with, and their stages."""

import difflib
from collections.abc import Sequence
from contextlib import nullcontext, suppress
from functools import cache
from types import SimpleNamespace
from typing import Any

import torch
from torch import nn

from crossbatch.errors import MissingExtraError, SettingError
from crossbatch.models.hub_cache import cache_alone_if_offline


def create(name: str, channels: int, *, pretrained: bool) -> tuple[nn.Module, int]:
    """Return a network with its own pooling and without classifier, and its number of features."""
    network = _made(name, pretrained=pretrained, num_classes=0, in_chans=channels)
    # Not `num_features`: also with num_classes=0 the heads of MobileNetV3, VGG and others widen the features.
    return network, network.head_hidden_size


def create_unpooled(name: str, channels: int, *, pretrained: bool) -> tuple[nn.Module, int]:
    """Return a network that gives its last feature maps, and their number."""
    way_out = "leave --model.pooling out, and the network pools as it was made to"
    try:
        network = _made(name, pretrained=pretrained, num_classes=0, in_chans=channels, global_pool="")
    except (AssertionError, TypeError, ValueError) as error:
        raise SettingError(f"{name} cannot leave its own pooling out ({_first_line(error)}): {way_out}") from error
    size = _timm(name).data.resolve_model_data_config(network)["input_size"][1:]
    with torch.no_grad():
        shape = tuple(network.eval()(torch.zeros(1, channels, *size)).shape)
    features: int = network.head_hidden_size
    if len(shape) != 4 or shape[1] != features:
        raise SettingError(
            f"--model.pooling pools maps [batch, {features} features, rows, columns], "
            f"but {name} gives {list(shape)}, such as tokens: {way_out}"
        )
    return network.train(), features


def take(network: nn.Module, name: str, channels: int, sides: tuple[int, int]) -> None:
    """Make a network take images of a height and width. Transformers have one size, which most can change."""
    if sides == tuple(_timm(name).data.resolve_model_data_config(network)["input_size"][1:]):
        return
    training, resize = network.training, getattr(network, "set_input_size", None)
    try:
        with suppress(AssertionError, RuntimeError, ValueError):
            _try(network, channels, sides)
            return  # unchanged, so that its saved weights still fit
        if resize is not None:
            resize(img_size=sides)
        _try(network, channels, sides)
    except (AssertionError, RuntimeError, ValueError) as error:
        raise SettingError(
            f"{name} takes no images of {sides[0]}×{sides[1]} ({_first_line(error)}): "
            "leave --model.image_size out, or name another --model.backbone"
        ) from error
    finally:
        network.train(training)


def _try(network: nn.Module, channels: int, sides: tuple[int, int]) -> None:
    with torch.no_grad():
        network.eval()(torch.zeros(1, channels, *sides))


@cache
def image_settings(name: str) -> dict[str, Any]:
    """The image settings that a network was trained with: input_size, crop_pct, mean, std."""
    timm = _timm(name)
    try:
        network = timm.create_model(name, num_classes=0)
    except (OSError, RuntimeError) as error:
        raise SettingError(f"the backbone {name} cannot be built: {_first_line(error)}") from error
    config: dict[str, Any] = timm.data.resolve_model_data_config(network)
    return config


def require(name: str, others: Sequence[str]) -> None:
    """Refuse a name that timm does not know, and suggest similar names; `others` are backbones that are not timm's."""
    timm = _timm(name)
    if not timm.is_model(name):
        close = difflib.get_close_matches(name, [*others, *timm.list_models()], n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(close)}" if close else f"name a timm model, or {' or '.join(others)}"
        own = "your own is found if the variable CROSSBATCH_IMPORT names its module"
        raise SettingError(f"there is no backbone {name!r}: {hint}; {own}")


def stages(name: str, network: nn.Module) -> dict[str, int]:
    """The stage of each parameter, counted from 0 at the images; for timm's networks and ours.

    Stages are timm's coarse groups: a stem and then the blocks of each resolution, or each block of a transformer.
    Parameters that belong to no block, such as a last normalisation, count to the last stage.
    """
    rest = "rest"  # a name that no pattern fits, so it gets the group of all parameters without a block
    named = SimpleNamespace(named_parameters=lambda: [*network.named_parameters(), (rest, None)])
    try:
        matcher = network.group_matcher(coarse=True)  # type: ignore[operator]
        stage_of: dict[str, int] = _timm(name).models.group_parameters(named, matcher, reverse=True)
    except (AttributeError, AssertionError) as error:
        raise SettingError(
            f"timm tells no stages of {name}: leave --model.train_stages out, or set it to 0 to train the head alone"
        ) from error
    last = max(stage_of.pop(rest) - 1, 0)
    return {parameter: min(stage, last) for parameter, stage in stage_of.items()}


def _made(name: str, *, pretrained: bool, **options: Any) -> Any:
    timm = _timm(name)
    with cache_alone_if_offline() if pretrained else nullcontext():
        return timm.create_model(name, pretrained=pretrained, **options)


def _first_line(error: Exception) -> str:
    return str(error).split("\n")[0][:120]


def _timm(name: str) -> Any:
    try:
        import timm  # noqa: PLC0415
    except ModuleNotFoundError:
        raise MissingExtraError(f"the backbone {name}", "timm", "train") from None
    return timm
