"""GoogLeNet as torchvision has it: with BatchNorm, which the network of 2014 did not have; no auxiliary heads."""

from collections import OrderedDict
from typing import Any

from torch import nn

from crossbatch.errors import MissingExtraError
from crossbatch.shapes import Images, Maps

HEAD = ("avgpool", "dropout", "fc")

# torchvision's weights come from TensorFlow and expect values in [−1, 1]. torchvision's network expects ImageNet's mean
# and deviation instead and converts them (`transform_input`), which comes to the same.
IMAGE_SETTINGS = {"input_size": (3, 224, 224), "crop_pct": 224 / 256, "mean": (0.5,) * 3, "std": (0.5,) * 3}


class GoogLeNet(nn.Sequential):
    """The layers before the pooling, with torchvision's names, so that its weights load.

    Source: Szegedy et al., Going deeper with convolutions, CVPR 2015; BatchNorm and weights as in torchvision.
    """

    num_features = 1024
    image_settings = IMAGE_SETTINGS

    def __init__(self, channels: int, *, pretrained: bool = False) -> None:
        network = _torchvision(pretrained=pretrained)
        super().__init__(OrderedDict((name, layer) for name, layer in network.named_children() if name not in HEAD))
        first = network.conv1.conv
        if channels != first.in_channels:
            weight = first.weight.detach().sum(1, keepdim=True)  # grey gives what equal red, green and blue do
            first.weight, first.in_channels = nn.Parameter(weight), channels

    def forward(self, images: Images) -> Maps:
        """Feature maps, to be pooled."""
        maps: Maps = super().forward(images)  # type: ignore[no-untyped-call]
        return maps

    @staticmethod
    def group_matcher(*, coarse: bool) -> dict[str, str]:  # noqa: ARG004
        """Four stages: the layers before the inception blocks, then the blocks of each resolution."""
        return {"stem": r"^conv\d", "blocks": r"^inception(\d)"}


def _torchvision(*, pretrained: bool) -> Any:
    try:
        from torchvision import models  # noqa: PLC0415
    except ModuleNotFoundError:
        raise MissingExtraError("the backbone googlenet", "torchvision", "train") from None
    if pretrained:
        return models.googlenet(weights=models.GoogLeNet_Weights.IMAGENET1K_V1, progress=False)
    # torchvision's own initial weights (deviation 0.01) lose the image until BatchNorm has learnt its statistics.
    return models.googlenet(aux_logits=False, init_weights=False)
