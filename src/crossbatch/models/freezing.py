"""Freezing the first stages of a backbone, and its BatchNorm layers."""

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from crossbatch.errors import SettingError
from crossbatch.models import timm_networks
from crossbatch.models.embedder import Embedder


def freeze(model: Embedder, backbone: str, *, train_stages: int | None = None, batch_norm: bool = False) -> None:
    """Train only the last `train_stages` of the backbone (None: all); `batch_norm` freezes its BatchNorm layers too.

    A network without BatchNorm is accepted. The pooling and the head always learn.

    A frozen BatchNorm keeps its statistics, scale and shift, and is then one fixed linear map, as in Proxy-Anchor's
    code and in torchvision's FrozenBatchNorm2d. The code of the Multi-Similarity loss freezes only the statistics, and
    the code of the XBM paper freezes nothing.
    """
    network = model.backbone
    norms = [module for module in network.modules() if batch_norm and isinstance(module, _BatchNorm)]
    if train_stages is not None:
        _freeze_first(network, backbone, train_stages)
    for norm in norms:
        norm.requires_grad_(False)
    if norms or train_stages is not None:
        frozen = set(norms)
        model.kept = tuple(
            name for name, module in model.named_modules() if name and (module in frozen or _is_frozen(module))
        )
    model.train(model.training)


def _freeze_first(network: nn.Module, backbone: str, train_stages: int) -> None:
    if train_stages == 0:
        network.requires_grad_(False)
        return
    stage_of = timm_networks.stages(backbone, network)
    count = max(stage_of.values()) + 1
    if train_stages > count:
        raise SettingError(
            f"{backbone} has {count} stages: --model.train_stages takes 0 to {count}, or nothing for all; "
            f"got {train_stages}"
        )
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(stage_of[name] >= count - train_stages)


def _is_frozen(module: nn.Module) -> bool:
    """Tell whether a module has parameters and none of them learns."""
    learns = [parameter.requires_grad for parameter in module.parameters()]
    return bool(learns) and not any(learns)
