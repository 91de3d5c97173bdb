"""A running average of the weights of a network, beside it."""

from timm.utils.model_ema import ModelEmaV3 as Averaged

from crossbatch.models.embedder import Embedder

__all__ = ["Averaged", "averaged"]


def averaged(network: Embedder, decay: float) -> Averaged:
    """A copy to `update(network, step)` after each step; BatchNorm's statistics are averaged as the weights are.

    At step t the decay is 1 − t^(−2/3), at most `decay`, so that the average leaves the weights of the start behind.
    """
    average = Averaged(network, decay, use_warmup=True)
    average.requires_grad_(False)  # its weights are no parameters to train, and DistributedDataParallel waits for none
    return average
