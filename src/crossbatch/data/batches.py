"""Batches of images, ready for the network: by step for training, in order for evaluation."""

import math
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Literal

import torch
from torch import Tensor
from torch.utils.data import Dataset

from crossbatch.data.crops import Look
from crossbatch.data.data_set import Images, Part
from crossbatch.data.pk_batches import PKBatches
from crossbatch.data.transforms import Transform, image_seed
from crossbatch.errors import DataError, UnreadableError
from crossbatch.processes import part

OnCorrupt = Literal["refuse", "skip"]
Batch = tuple[Tensor, Tensor, Tensor]  # images, labels, ids


def _tell(sentence: str) -> None:
    print(sentence, file=sys.stderr, flush=True)


class Reader:
    """Read images. An image that cannot be read is refused, or skipped: it is named once and not tried again.

    Files are read on as many threads as torch has, since reading takes turns with torch on the same cores. A loader
    process has one thread. `way_out`: what the error about a refused image advises.
    """

    def __init__(
        self,
        images: Images,
        on_corrupt: OnCorrupt = "refuse",
        tell: Callable[[str], None] = _tell,
        way_out: str = "mend or remove it, or --loop.on_corrupt skip",
    ) -> None:
        self.images, self.on_corrupt, self.tell, self.way_out = images, on_corrupt, tell, way_out
        self.corrupt: dict[int, str] = {}  # reasons by image id

    def see(self, indices: Sequence[int], looks: Sequence[Look]) -> list[Tensor | None]:
        """The view of each image that its look chooses; None for an image that is skipped."""
        threads = 1 if self.images.in_memory else min(torch.get_num_threads(), len(indices))
        if threads <= 1:
            results = list(map(self._try, indices, looks))
        else:
            with ThreadPoolExecutor(threads) as pool:
                results = list(pool.map(self._try, indices, looks))
        return [self._admit(index, view) for index, view in zip(indices, results, strict=True)]

    def _try(self, index: int, look: Look) -> Tensor | DataError | None:
        if index in self.corrupt:
            return None
        try:
            return self.images.see(index, look)
        except DataError as error:
            return error

    def _admit(self, index: int, found: Tensor | DataError | None) -> Tensor | None:
        if not isinstance(found, DataError):
            return found
        reason = found.reason if isinstance(found, UnreadableError) else str(found)
        if self.on_corrupt == "refuse":
            raise UnreadableError(reason, self.way_out) from found
        if index not in self.corrupt:
            self.corrupt[index] = reason
            self.tell(f"skipped: {self.corrupt[index]}")
        return None


def one_id_each(ids: Tensor, copies: Sequence[Sequence[int]]) -> Tensor:
    """The ids, with that of the first for all images of a group of copies."""
    first = {copy: group[0] for group in copies for copy in group}
    return torch.tensor([first.get(image, image) for image in ids.tolist()], dtype=ids.dtype) if first else ids


class TrainingBatches(Dataset[Batch]):
    """Item `step` is the augmented P×K batch of that step, a pure function of seed and step.

    Each `variant` augments the same images differently. `share`: the rank of a process and the number of processes,
    among which the batch is divided. An image is augmented in its share as in the whole batch. `copies`: groups of ids
    of images with the same bytes; all of a group have the id of its first, so that a loss compares none of them.
    """

    def __init__(
        self,
        reader: Reader,
        part: Part,
        batches: PKBatches,
        transform: Transform,
        *,
        variant: int = 0,
        share: tuple[int, int] = (0, 1),
        copies: Sequence[Sequence[int]] = (),
    ) -> None:
        self.reader, self.part, self.batches, self.transform = reader, part, batches, transform
        self.variant, self.share = variant, share
        self.ids = one_id_each(part.ids, copies)

    def __getitem__(self, step: int) -> Batch:
        """Images float [batch, channels, size, size], labels and ids int64 [batch]."""
        size = self.batches.size
        own = part(size, *self.share)
        batch = self.batches[step].tolist()
        chosen = batch[own]
        numbers = range(self.variant * size, (self.variant + 1) * size)[own]
        seeds = [image_seed(self.batches.seed, step, number) for number in numbers]
        looks = [self.transform.look(seed) for seed in seeds]
        views = []
        for number, view in enumerate(self.reader.see(self.part.ids[chosen].tolist(), looks)):
            if view is None:
                chosen[number], found = self._another(own.start + number, chosen[number], looks[number], batch, chosen)
                views.append(found)
            else:
                views.append(view)
        pixels = self.transform(views, seeds) if views else torch.empty(0)
        return pixels, self.part.labels[chosen], self.ids[chosen]

    def _another(
        self, number: int, position: int, look: Look, batch: Sequence[int], chosen: Sequence[int]
    ) -> tuple[int, Tensor]:
        """The position and view of a readable image of the same class, if possible one that is not in the batch.

        `batch`: that of all processes, `chosen`: the present share. The search begins at another image for each
        `number` in the batch, so that two processes seldom find the same.
        """
        places = (self.part.labels == self.part.labels[position]).nonzero()[:, 0].tolist()
        free = [place for place in places if place not in batch]
        turn = number % max(len(free), 1)
        for place in sorted([*free[turn:], *free[:turn], *places], key=lambda place: place in chosen):
            (view,) = self.reader.see([int(self.part.ids[place])], [look])
            if view is not None:
                return place, view
        name = self.reader.images.name(int(self.part.ids[position]))
        raise DataError(f"no image of the class of {name} can be read: mend or remove the class")


class PartBatches(Dataset[Batch]):
    """A part in order, `size` images at a time; images that cannot be read are left out. `ids`: what to call them."""

    def __init__(
        self, reader: Reader, part: Part, transform: Transform, size: int = 256, ids: Tensor | None = None
    ) -> None:
        self.reader, self.part, self.transform, self.size = reader, part, transform, size
        self.ids = part.ids if ids is None else ids

    def __len__(self) -> int:
        return math.ceil(len(self.part) / self.size)

    def __getitem__(self, number: int) -> Batch:
        """Images float [batch, channels, size, size], labels and ids int64 [batch]."""
        if number >= len(self):
            raise IndexError(number)
        places = range(number * self.size, min((number + 1) * self.size, len(self.part)))
        all_views = self.reader.see(self.part.ids[list(places)].tolist(), [self.transform.look(0)] * len(places))
        kept = [place for place, view in zip(places, all_views, strict=True) if view is not None]
        views = [view for view in all_views if view is not None]
        pixels = self.transform(views, [0] * len(views)) if views else torch.empty(0)
        return pixels, self.part.labels[kept], self.ids[kept]


class Shared(Dataset[Batch]):
    """One process's share of a part's batches: consecutive batches in order, equally many for each process.

    Processes that synchronise at every batch need equally many, so empty batches make up the number.
    """

    def __init__(self, batches: PartBatches, rank: int, count: int) -> None:
        self.batches, self.rank, self.size = batches, rank, math.ceil(len(batches) / count)

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, number: int) -> Batch:
        """The batch of the part; an empty one beyond the last."""
        if number >= self.size:
            raise IndexError(number)
        place = self.rank * self.size + number
        none = torch.empty(0, dtype=torch.int64)
        return self.batches[place] if place < len(self.batches) else (torch.empty(0), none, none)
