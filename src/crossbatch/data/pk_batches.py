"""P×K batches: P classes, K images of each, a sequence that is a pure function of seed and step."""

import operator
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import count
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Sampler

from crossbatch.errors import DataError
from crossbatch.processes import part


class PKBatches:
    """The batch of each step: a batch sampler of a `DataLoader`, and `batches[step]`.

    Batch `step` depends on no state, and is the same in whatever order steps are read. Classes come in shuffled rounds,
    each class at most once a round: a remainder that does not fill a batch is left out of that round. K images of each
    class are drawn without replacement, or with replacement if the class has fewer than K; `short_classes` counts such
    classes. Classes with one image are left out, since they have no positive.

    Args:
        labels: The class of each image, numbers or texts: a list, an array or a tensor [images].
        classes: P, classes in a batch.
        images: K, images of each class, at least 2.
        seed: What the batches are drawn from.
        steps: How many batches a pass through them has; the next pass goes on with the steps that follow. A range
            starts in the middle of a training. None: a pass without end.
        share: Rank of this process and number of processes; each gets its part of every batch.

    Raises:
        DataError: Too few classes have two images, or a number is out of range.

    Examples:
        >>> batches = PKBatches(labels, classes=2, images=2, steps=500)
        >>> loader = torch.utils.data.DataLoader(images, batch_sampler=batches)
        >>> rest = PKBatches(labels, classes=2, images=2, steps=range(200, 500))  # after 200 steps
        >>> own = PKBatches(labels, classes=2, images=2, share=(0, 2))  # in the first of two processes
    """

    def __init__(
        self,
        labels: Tensor | NDArray[Any] | Sequence[Any],
        classes: int,
        images: int,
        seed: int = 0,
        steps: int | range | None = None,
        share: tuple[int, int] = (0, 1),
    ) -> None:
        values = labels.cpu().numpy() if isinstance(labels, Tensor) else np.asarray(labels)
        if values.ndim != 1:
            raise DataError(f"labels are one for each image, [images], got the shape {list(values.shape)}")
        order = np.argsort(values, kind="stable")
        ordered = values[order]
        groups = np.split(order, np.flatnonzero(ordered[1:] != ordered[:-1]) + 1) if len(values) else []
        self.groups = [group for group in groups if len(group) > 1]
        if classes < 1 or images < 2:
            raise DataError(f"a batch needs at least 1 class and 2 images of each, got {classes} × {images}")
        if not self.groups:
            raise DataError("no training class has two images: each needs another one of its class to be compared with")
        if seed < 0:
            raise DataError(f"the seed of the batches must be at least 0, got {seed}")
        if not 0 <= share[0] < share[1] <= classes * images:
            raise DataError(
                f"share is (rank, number of processes), the rank from 0 on, and a batch has an image for each process; "
                f"got {share} and {classes * images} images"
            )
        if len(self.groups) < classes:
            raise DataError(
                f"a batch of {classes} classes needs as many training classes with two images, "
                f"there are {len(self.groups)}: take fewer classes (--batch.classes on the command line)"
            )
        self.classes, self.images, self.seed = classes, images, seed
        self.steps, self.share, self._passes = _range_of(steps), share, 0
        self.left_out = len(groups) - len(self.groups)
        self.short_classes = sum(len(group) < images for group in self.groups)
        self._round = len(self.groups) // classes
        self._cached: tuple[int, NDArray[np.int64]] = (-1, np.empty(0, np.int64))

    @property
    def size(self) -> int:
        """Images in a batch, of all processes together."""
        return self.classes * self.images

    def __len__(self) -> int:
        """Number of batches; `TypeError` if they have no end."""
        if self.steps is None:
            raise TypeError("these batches have no end: PKBatches(…, steps=500) has")
        return len(self.steps)

    def __iter__(self) -> Iterator[list[int]]:
        """Yield the positions of the images of each step of a pass; the next pass has the steps after it."""
        if self.steps is None:
            steps: Iterable[int] = count()
        else:
            first = self.steps[0] + self._passes * len(self.steps)
            steps = range(first, first + len(self.steps))
            self._passes += 1
        return (self[step].tolist() for step in steps)

    def __getitem__(self, step: int) -> NDArray[np.int64]:
        """Positions in `labels` of the images of a step, or of a process's share; the K of a class are adjacent."""
        number, place = divmod(step, self._round)
        chosen = self._shuffled(number)[place * self.classes : (place + 1) * self.classes]
        draw = np.random.default_rng((self.seed, 1, step))
        batch = np.concatenate(
            [draw.choice(self.groups[c], self.images, replace=len(self.groups[c]) < self.images) for c in chosen]
        )
        return batch[part(self.size, *self.share)]

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


def _range_of(steps: Any) -> range | None:
    if steps is None:
        return None
    found = steps if isinstance(steps, range) else range(operator.index(steps)) if hasattr(steps, "__index__") else None
    if found is None or not len(found) or found[0] < 0 or found.step != 1:
        raise DataError(f"steps is a number of batches of at least 1, or a range of steps from 0 on, got {steps!r}")
    return found


class Steps(Sampler[int]):
    """Endless step numbers, from the one that `first` returns when the loader starts."""

    def __init__(self, first: Callable[[], int]) -> None:
        self.first = first

    def __iter__(self) -> Iterator[int]:
        step = self.first()
        while True:
            yield step
            step += 1
