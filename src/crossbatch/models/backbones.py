"""Backbones by name: ours, torchvision's GoogLeNet, and all of timm's."""

from typing import Any

from torch import nn

from crossbatch.errors import SettingError
from crossbatch.models import bn_inception, googlenet, timm_networks
from crossbatch.models.pooling import pooling_by_name
from crossbatch.models.small import SmallConvNet

SMALL, GOOGLENET, BN_INCEPTION = "small", "googlenet", "bn_inception"
OURS = (SMALL, GOOGLENET, BN_INCEPTION)  # these give maps and pool them by their mean, unless told otherwise
IMAGE_SETTINGS = {GOOGLENET: googlenet.IMAGE_SETTINGS, BN_INCEPTION: bn_inception.IMAGE_SETTINGS}


def create(
    name: str, channels: int, *, pooling: str | None = None, pretrained: bool = False
) -> tuple[nn.Module, nn.Module, int]:
    """A network, what pools the maps it gives (nothing where it pools itself), and the number of features then."""
    if name not in OURS:
        timm_networks.require(name, OURS)
    pool = nn.Identity() if pooling is None else pooling_by_name(pooling)
    try:
        if name in OURS:
            network, features = _ours(name, channels, pretrained=pretrained)
            pool = pooling_by_name(pooling or "avg")
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
            "or give them as a file with --model.weights instead of --model.pretrained"
        ) from error
    return network, pool, features


def image_settings(name: str) -> dict[str, Any]:
    """What the weights of a backbone were trained with: input_size, crop_pct, mean, std; in [0, 1], red first."""
    if name in IMAGE_SETTINGS:
        return IMAGE_SETTINGS[name]
    timm_networks.require(name, OURS)
    return timm_networks.image_settings(name)


def _ours(name: str, channels: int, *, pretrained: bool) -> tuple[nn.Module, int]:
    if name == GOOGLENET:
        return googlenet.GoogLeNet(channels, pretrained=pretrained), googlenet.GoogLeNet.num_features
    if name == BN_INCEPTION:
        if pretrained:
            raise SettingError(
                "bn_inception has no weights on a hub: give the file bn_inception-52deb4733.pth with --model.weights"
            )
        return bn_inception.BNInception(channels), bn_inception.BNInception.num_features
    if pretrained:
        raise SettingError("the small network has no pretrained weights: name a timm backbone or leave them out")
    return SmallConvNet(channels), SmallConvNet.num_features
