"""The embedding model: a backbone, a linear head, unit length."""

import difflib
from typing import Any

from torch import Tensor, nn
from torch.nn.functional import normalize

from crossbatch.errors import MissingExtraError, SettingError
from crossbatch.models.small import SmallConvNet
from crossbatch.shapes import Embeddings

SMALL = "small"


class Embedder(nn.Module):
    """Images float [batch, channels, height, width] → unit embeddings [batch, dim]."""

    def __init__(self, backbone: nn.Module, features: int, dim: int) -> None:
        super().__init__()
        self.backbone, self.head = backbone, nn.Linear(features, dim)

    def forward(self, images: Tensor) -> Embeddings:
        """Embed a batch of preprocessed images."""
        return normalize(self.head(self.backbone(images)))


def build(backbone: str, dim: int, channels: int, *, pretrained: bool = False) -> Embedder:
    """Our `small` network, or any timm model by its name."""
    if dim < 1:
        raise SettingError(f"the embedding needs at least 1 dimension, got --model.dim {dim}")
    if backbone == SMALL:
        if pretrained:
            raise SettingError("the small network has no pretrained weights: name a timm backbone or leave them out")
        return Embedder(SmallConvNet(channels), SmallConvNet.num_features, dim)
    network = _create(backbone, pretrained=pretrained, in_chans=channels)
    # With num_classes=0 the heads of MobileNetV3, VGG and others still widen num_features to this.
    return Embedder(network, network.head_hidden_size, dim)


def image_settings(backbone: str) -> dict[str, Any]:
    """What a timm backbone was trained with: input_size, crop_pct, mean, std."""
    network = _create(backbone, pretrained=False)
    config: dict[str, Any] = _timm(backbone).data.resolve_model_data_config(network)
    return config


def _create(backbone: str, *, pretrained: bool, **options: int) -> Any:
    timm = _timm(backbone)
    try:
        return timm.create_model(backbone, pretrained=pretrained, num_classes=0, **options)
    except (OSError, RuntimeError) as error:
        reason = str(error).split("\n")[0][:120]
        if not pretrained:
            raise SettingError(f"timm cannot build the backbone {backbone}: {reason}") from error
        raise SettingError(
            f"the pretrained weights of {backbone} could not be fetched ({reason}): "
            "connect to a network, or leave --model.pretrained out"
        ) from error


def _timm(backbone: str) -> Any:
    try:
        import timm  # noqa: PLC0415
    except ModuleNotFoundError:
        raise MissingExtraError(f"the backbone {backbone}", "timm", "train") from None
    if not timm.is_model(backbone):
        close = difflib.get_close_matches(backbone, [SMALL, *timm.list_models()], n=3, cutoff=0.5)
        hint = f": did you mean {' or '.join(close)}?" if close else f": name a timm model, or {SMALL}"
        raise SettingError(f"there is no backbone {backbone!r}{hint}")
    return timm
