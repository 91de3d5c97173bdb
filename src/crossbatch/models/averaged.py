"""A running average of a network's weights, kept in a copy of the network."""

from timm.utils.model_ema import ModelEmaV3 as Averaged

from crossbatch.models.embedder import Embedder

__all__ = ["Averaged", "averaged"]


def averaged(network: Embedder, decay: float) -> Averaged:
    """A copy of the network with averaged weights: call its `update(network, step)` after each step.

    BatchNorm's statistics are averaged too. At step t the decay is 1 − t^(−2/3), at most `decay`, so that the average
    soon forgets the weights of the start.
    """
    average = Averaged(network, decay, use_warmup=True)
    average.requires_grad_(False)  # not trained: DistributedDataParallel must not wait for their gradients
    return average
