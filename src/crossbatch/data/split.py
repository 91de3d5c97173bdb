"""How the classes of a data set are divided. Imports nothing heavy, since the options of every command use it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Split:
    """How classes are divided if the data set does not say.

    Args:
        validation_share: Share of the training classes that is held out for validation; classes are never divided.
        test_share: Share of all classes that is held out for test, if the data set has no test part.
        seed: Seed of the division: it alone decides which classes are held out, whatever the seed of the run.
        complete: Refuse a published data set whose number of images or classes is not the published one.
    """

    validation_share: float = 0.2
    test_share: float = 0.3
    seed: int = 0
    complete: bool = True
