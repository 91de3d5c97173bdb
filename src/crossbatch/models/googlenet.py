"""GoogLeNet as torchvision has it: with BatchNorm, which the network of 2014 did not have; no auxiliary heads."""

from collections import OrderedDict
from typing import Any

from torch import nn

from crossbatch.errors import MissingExtraError
from crossbatch.shapes import Images, Maps

HEAD = ("avgpool", "dropout", "fc")

# torchvision's weights come from TensorFlow and want values in [−1, 1]; its own network takes ImageNet's mean and
# deviation first and turns them back (`transform_input`), which is the same.
IMAGE_SETTINGS = {"input_size": (3, 224, 224), "crop_pct": 224 / 256, "mean": (0.5,) * 3, "std": (0.5,) * 3}


class GoogLeNet(nn.Sequential):
    """Everything before the pooling, under torchvision's names, so that its weights load.

    Source: Szegedy et al., Going deeper with convolutions, CVPR 2015; BatchNorm and weights as in torchvision.
    """

    num_features = 1024
    image_settings = IMAGE_SETTINGS

    def __init__(self, channels: int, *, pretrained: bool = False) -> None:
        network = _torchvision(pretrained=pretrained)
        super().__init__(OrderedDict((name, layer) for name, layer in network.named_children() if name not in HEAD))
        first = network.conv1.conv
        if channels != first.in_channels:
            weight = first.weight.detach().sum(1, keepdim=True)  # grey: what equal red, green and blue would give
            first.weight, first.in_channels = nn.Parameter(weight), channels

    def forward(self, images: Images) -> Maps:
        """Feature maps, to be pooled."""
        maps: Maps = super().forward(images)  # type: ignore[no-untyped-call]
        return maps

    @staticmethod
    def group_matcher(*, coarse: bool) -> dict[str, str]:  # noqa: ARG004
        """Four stages: what comes before the inception blocks, then these by their resolution."""
        return {"stem": r"^conv\d", "blocks": r"^inception(\d)"}


def _torchvision(*, pretrained: bool) -> Any:
    try:
        from torchvision import models  # noqa: PLC0415
    except ModuleNotFoundError:
        raise MissingExtraError("the backbone googlenet", "torchvision", "train") from None
    if pretrained:
        return models.googlenet(weights=models.GoogLeNet_Weights.IMAGENET1K_V1, progress=False)
    # torchvision's own start (deviation 0.01) leaves nothing of an image before the statistics are learnt.
    return models.googlenet(aux_logits=False, init_weights=False)
