"""A trained model with its preprocessing: from images to embeddings."""

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from crossbatch.data.crops import opaque, see, upright
from crossbatch.data.image_files import naming
from crossbatch.data.transforms import Evenly, Preprocessing
from crossbatch.errors import DataError
from crossbatch.models import checkpoint

Rows = NDArray[np.float32]


class Encoder:
    """What `load` returns."""

    def __init__(self, network: torch.nn.Module, description: checkpoint.Description) -> None:
        self.network, self.description, self.dim = network.eval(), description, description.dim
        self._evenly = Evenly(Preprocessing.restore(description.preprocessing))
        digest = hashlib.sha256(json.dumps(asdict(description), sort_keys=True).encode())
        for name, value in sorted(network.state_dict().items()):
            digest.update(name.encode() + value.detach().cpu().contiguous().numpy().tobytes())
        self.fingerprint = digest.hexdigest()[:16]

    def embed(
        self,
        images: Sequence[Any],
        *,
        batch_size: int = 64,
        progress: Callable[[Iterable[Any]], Any] | None = None,  # noqa: ARG002
    ) -> Rows:
        """Unit rows [images, dim]; `DataError` names what cannot be read."""
        rows, why = self.embed_readable(images, batch_size=batch_size)
        if why:
            raise DataError(next(iter(why.values())))
        return rows

    @torch.no_grad()
    def embed_readable(self, images: Sequence[Any], *, batch_size: int = 64) -> tuple[Rows, dict[int, str]]:
        """Unit rows, NaN where an image cannot be read, and why not, by position."""
        rows, why = np.full((len(images), self.dim), np.nan, dtype=np.float32), {}
        for start in range(0, len(images), batch_size):
            seen: dict[int, Tensor] = {}
            for number in range(start, min(start + batch_size, len(images))):
                try:
                    seen[number] = self._see(images[number])
                except DataError as error:
                    why[number] = str(error)
            if seen:
                rows[list(seen)] = self.network(self._evenly(list(seen.values()), [])).float().numpy()
        return rows, why

    def _see(self, image: Any) -> Tensor:
        if isinstance(image, str | Path):
            with naming(image):
                return see(Path(image).read_bytes(), self._evenly.look(0))
        shown = image if isinstance(image, Image.Image) else Image.fromarray(np.asarray(image, dtype=np.uint8))
        shown = opaque(upright(shown), self._evenly.preprocessing.colour)
        return self._evenly.look(0)(*shown.size).of(shown)


def load(path: str | Path) -> Encoder:
    """The model of a run folder."""
    return Encoder(*checkpoint.load(Path(path)))
