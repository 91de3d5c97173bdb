"""Embedding queries: those that arrive together pass through the network as one batch."""

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from crossbatch.errors import DataError
from crossbatch.web.limits import RefusedError
from crossbatch.web.together import Together


@runtime_checkable
class Model(Protocol):
    """An embedding model, as `crossbatch.load` returns it."""

    def embed(self, images: Sequence[Any], *, batch_size: int = 64) -> NDArray[np.float32]:
        """Embeddings of length 1 [images, dim]."""


class Batcher:
    """A thread that loads a model, then embeds submitted images."""

    def __init__(self, load: Callable[[], Model]) -> None:
        self._load = load
        self._model: Model | None = None
        self.ready, self.failure = False, ""
        self._together = Together[Any, NDArray[np.float32]](self._embed, "embedding", self._begin, _failed)

    def submit(self, image: Any) -> "Future[NDArray[np.float32]]":
        """Queue an image; return the future of its embedding [dim]."""
        return self._together.submit(image)

    def close(self) -> None:
        """End the thread; do not wait for one that still loads the model."""
        self._together.close(10 if self.ready else 0)

    def _begin(self) -> None:
        try:
            self._model = self._load()
        except Exception as error:  # reported to each search that needs the network; other requests work
            self.failure = str(error)
        self.ready = self._model is not None

    def _embed(self, images: Sequence[Any]) -> Sequence[NDArray[np.float32]]:
        if self._model is None:
            reason = f"the gallery's model could not be loaded ({self.failure}): search only with images of the gallery"
            raise RefusedError(503, "no_model", reason)
        return list(self._model.embed(images))


def _failed(error: Exception) -> Exception:
    if isinstance(error, RefusedError):
        return error
    if isinstance(error, DataError):
        return RefusedError(415, "not_an_image", str(error))
    why = (str(error).splitlines() or [type(error).__name__])[0][:200]
    return RefusedError(503, "failed", f"the image could not be embedded ({why}): try again, or with a smaller one")
