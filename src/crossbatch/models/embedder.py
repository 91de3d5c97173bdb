"""The embedding model: a backbone, pooling, a linear head, and scaling to length 1."""

from torch import nn
from torch.nn.functional import normalize

from crossbatch.errors import SettingError
from crossbatch.models import backbones
from crossbatch.shapes import Embeddings, Images

MOST_DIMENSIONS = 65_536


class Embedder(nn.Module):
    """Images float [batch, channels, height, width] → unit embeddings [batch, dim].

    Modules named in `kept` stay in evaluation mode after `train()`: frozen BatchNorm layers must keep their statistics.
    """

    def __init__(self, backbone: nn.Module, pooling: nn.Module, features: int, dim: int) -> None:
        super().__init__()
        self.backbone, self.pooling, self.head = backbone, pooling, nn.Linear(features, dim)
        self.kept: tuple[str, ...] = ()

    def forward(self, images: Images) -> Embeddings:
        """Embed a batch of preprocessed images."""
        return normalize(self.head(self.pooling(self.backbone(images))))

    def train(self, mode: bool = True) -> "Embedder":
        """Set training mode for all modules but those in `kept`."""
        super().train(mode)
        for name in self.kept:
            self.get_submodule(name).eval()
        return self


def build(backbone: str, dim: int, channels: int, *, pooling: str | None = None, pretrained: bool = False) -> Embedder:
    """Build a model from a backbone's name. `pooling`: avg, max, gem or grid; None is the backbone's own."""
    if not 1 <= dim <= MOST_DIMENSIONS:
        raise SettingError(f"an embedding has 1 to {MOST_DIMENSIONS:,} dimensions, got --model.dim {dim}")
    network, pool, features = backbones.create(backbone, channels, pooling=pooling, pretrained=pretrained)
    return Embedder(network, pool, features, dim)
