"""P×K batches: P classes, K images of each, an endless sequence that is a pure function of seed and step."""

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Sampler

from crossbatch.errors import DataError


class PKBatches:
    """The batch of each step. Batch `step` depends on no state, and is the same in whatever order steps are read.

    Classes come in shuffled rounds, each class at most once a round: a remainder that does not fill a batch is left out
    of that round. K images of each class are drawn without replacement, or with replacement if the class has fewer than
    K; `short_classes` counts such classes. Classes with one image are left out, since they have no positive.
    """

    def __init__(self, labels: Tensor, classes: int, images: int, seed: int) -> None:
        values = labels.numpy()
        order = np.argsort(values, kind="stable")
        groups = np.split(order, np.flatnonzero(np.diff(values[order])) + 1) if len(values) else []
        self.groups = [group for group in groups if len(group) > 1]
        if classes < 1 or images < 2:
            raise DataError(f"a batch needs at least 1 class and 2 images of each, got {classes} × {images}")
        if not self.groups:
            raise DataError("no training class has two images: each needs another one of its class to be compared with")
        if seed < 0:
            raise DataError(f"the seed of the batches must be at least 0, got {seed}")
        if len(self.groups) < classes:
            raise DataError(
                f"a batch of {classes} classes needs as many training classes with two images, "
                f"there are {len(self.groups)}: take fewer classes (--batch.classes)"
            )
        self.classes, self.images, self.seed = classes, images, seed
        self.left_out = len(groups) - len(self.groups)
        self.short_classes = sum(len(group) < images for group in self.groups)
        self._round = len(self.groups) // classes
        self._cached: tuple[int, NDArray[np.int64]] = (-1, np.empty(0, np.int64))

    def __len__(self) -> int:
        """Images in a batch."""
        return self.classes * self.images

    def __getitem__(self, step: int) -> NDArray[np.int64]:
        """Positions in `labels` of the images of a step; the K images of a class are adjacent."""
        number, place = divmod(step, self._round)
        chosen = self._shuffled(number)[place * self.classes : (place + 1) * self.classes]
        draw = np.random.default_rng((self.seed, 1, step))
        return np.concatenate(
            [draw.choice(self.groups[c], self.images, replace=len(self.groups[c]) < self.images) for c in chosen]
        )

    def share_seen(self, steps: int) -> float:
        """Mean share of a batch's classes that are also in one of the `steps` batches before it.

        A class has a random place in each round. The share is that of the pairs of places in two successive rounds that
        are at most `steps` batches apart. Classes that a round leaves out are not considered.
        """
        of_round, steps = self._round, min(steps, 2 * self._round - 1)
        near = steps * (steps + 1) / 2
        beyond = (2 * of_round - steps - 1) * (2 * of_round - steps) / 2
        return near / of_round**2 if steps <= of_round else 1 - beyond / of_round**2

    def _shuffled(self, number: int) -> NDArray[np.int64]:
        """Order of the classes in a round; the last order is cached, since steps come in sequence."""
        if self._cached[0] != number:
            self._cached = number, np.random.default_rng((self.seed, 0, number)).permutation(len(self.groups))
        return self._cached[1]


class Steps(Sampler[int]):
    """Endless step numbers, from the one that `first` returns when the loader starts."""

    def __init__(self, first: Callable[[], int]) -> None:
        self.first = first

    def __iter__(self) -> Iterator[int]:
        step = self.first()
        while True:
            yield step
            step += 1
