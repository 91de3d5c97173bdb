"""How the classes of a data set are divided. Light: the options of every command hold one."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Split:
    """How classes are divided where the data set itself does not say.

    Args:
        validation_share: Share of the training classes held out for validation, whole classes.
        test_share: Share of all classes held out for test, where the data set brings no test part.
        seed: Which classes: the same seed makes the same division, whatever the seed of the run.
        complete: Refuse a published data set that has not the published number of images and classes.
    """

    validation_share: float = 0.2
    test_share: float = 0.3
    seed: int = 0
    complete: bool = True
