"""A small convolutional network for small images, trained from scratch on a CPU in minutes."""

from torch import Tensor, nn

WIDTHS_AND_STRIDES = ((32, 2), (64, 1), (128, 2), (256, 2))


class SmallConvNet(nn.Sequential):
    """Four 3×3 convolutions with batch normalisation, then the mean over all places: any image size works."""

    num_features = WIDTHS_AND_STRIDES[-1][0]

    def __init__(self, channels: int) -> None:
        layers: list[nn.Module] = []
        for width, stride in WIDTHS_AND_STRIDES:
            layers += [
                nn.Conv2d(channels, width, 3, stride, padding=1, bias=False),
                nn.BatchNorm2d(width),
                nn.ReLU(inplace=True),
            ]
            channels = width
        super().__init__(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())

    def forward(self, images: Tensor) -> Tensor:
        """Features [batch, num_features] of images [batch, channels, height, width]."""
        features: Tensor = super().forward(images)  # type: ignore[no-untyped-call]
        return features
