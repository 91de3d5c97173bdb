"""Backbones by name: ours, torchvision's GoogLeNet, and all of timm's."""

from typing import Any

from torch import nn

from crossbatch.errors import SettingError
from crossbatch.models import timm_networks
from crossbatch.models.bn_inception import BNInception
from crossbatch.models.googlenet import GoogLeNet
from crossbatch.models.pooling import pooling_by_name
from crossbatch.models.small import SmallConvNet

# These return feature maps, which are pooled by their mean by default. Any other name is timm's.
OURS: dict[str, Any] = {
    "small": SmallConvNet,
    "googlenet": GoogLeNet,
    "bn_inception": BNInception,
}


def create(
    name: str, channels: int, *, pooling: str | None = None, pretrained: bool = False
) -> tuple[nn.Module, nn.Module, int]:
    """Return a network, the pooling of its maps (Identity if it pools itself), and the number of pooled features."""
    if name not in OURS:
        timm_networks.require(name, list(OURS))
    try:
        if name in OURS:
            network, features = OURS[name](channels, pretrained=pretrained), OURS[name].num_features
            pooling = pooling or "avg"
        elif pooling is None:
            network, features = timm_networks.create(name, channels, pretrained=pretrained)
        else:
            network, features = timm_networks.create_unpooled(name, channels, pretrained=pretrained)
    except (OSError, RuntimeError) as error:
        reason = str(error).split("\n")[0][:120]
        if not pretrained:
            raise SettingError(f"the backbone {name} cannot be built: {reason}") from error
        raise SettingError(
            f"the pretrained weights of {name} could not be fetched ({reason}): connect to a network, "
            "or give them as a file with --model.pretrained false --model.weights FILE"
        ) from error
    if pooling is None:
        return network, nn.Identity(), features
    return network, *pooling_by_name(pooling, features)


def take(network: nn.Module, name: str, channels: int, sides: tuple[int, int]) -> None:
    """Make a network take images of a height and width; refuse sides that it cannot take."""
    if name not in OURS:
        timm_networks.take(network, name, channels, sides)


def image_settings(name: str) -> dict[str, Any] | None:
    """The image settings that a backbone's weights were trained with: input_size, crop_pct, mean, std.

    Mean and std are for values in [0, 1], red first. None for a backbone that is always trained from scratch.
    """
    if name in OURS:
        settings: dict[str, Any] | None = OURS[name].image_settings
        return settings
    timm_networks.require(name, list(OURS))
    return timm_networks.image_settings(name)
