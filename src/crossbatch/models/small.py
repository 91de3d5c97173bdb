"""A small convolutional network for small images, trained from scratch on a CPU in minutes."""

from torch import nn

from crossbatch.errors import SettingError
from crossbatch.shapes import Images, Maps

WIDTHS_AND_STRIDES = ((32, 2), (64, 1), (128, 2), (256, 2))
LAYERS = 3  # of each stage: convolution, batch normalisation, ReLU


class SmallConvNet(nn.Sequential):
    """Four 3×3 convolutions with batch normalisation: any image size works."""

    num_features = WIDTHS_AND_STRIDES[-1][0]
    image_settings = None

    def __init__(self, channels: int, *, pretrained: bool = False) -> None:
        if pretrained:
            raise SettingError("the small network has no pretrained weights: name a timm backbone or leave them out")
        layers: list[nn.Module] = []
        for width, stride in WIDTHS_AND_STRIDES:
            layers += [
                nn.Conv2d(channels, width, 3, stride, padding=1, bias=False),
                nn.BatchNorm2d(width),
                nn.ReLU(inplace=True),
            ]
            channels = width
        super().__init__(*layers)

    def forward(self, images: Images) -> Maps:
        """Feature maps, to be pooled."""
        maps: Maps = super().forward(images)  # type: ignore[no-untyped-call]
        return maps

    @staticmethod
    def group_matcher(*, coarse: bool) -> dict[str, str]:  # noqa: ARG004
        """Each convolution is a stage; the format is that of timm's networks."""
        return {
            f"stage {stage}": rf"^(?:{'|'.join(str(LAYERS * stage + layer) for layer in range(LAYERS))})\."
            for stage in range(len(WIDTHS_AND_STRIDES))
        }
