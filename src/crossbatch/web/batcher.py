"""Queries of several people through the network at once."""

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
    """What embeds: `crossbatch.load` returns one."""

    def embed(self, images: Sequence[Any], *, batch_size: int = 64) -> NDArray[np.float32]:
        """Unit rows [images, dim]."""


class Batcher:
    """A thread that loads a model, and then embeds what comes."""

    def __init__(self, load: Callable[[], Model]) -> None:
        self._load = load
        self._model: Model | None = None
        self.ready, self.failure = False, ""
        self._together = Together[Any, NDArray[np.float32]](self._embed, "embedding", self._begin, _failed)

    def submit(self, image: Any) -> "Future[NDArray[np.float32]]":
        """The embedding [dim] of an image, once it is there."""
        return self._together.submit(image)

    def close(self) -> None:
        """End the thread, but for one that still loads."""
        self._together.close(10 if self.ready else 0)

    def _begin(self) -> None:
        try:
            self._model = self._load()
        except Exception as error:  # told to whoever searches with an image; all else goes on
            self.failure = str(error)
        self.ready = self._model is not None

    def _embed(self, images: Sequence[Any]) -> Sequence[NDArray[np.float32]]:
        if self._model is None:
            told = f"the gallery's model could not be loaded ({self.failure}): only its own images can be searched with"
            raise RefusedError(503, "no_model", told)
        return list(self._model.embed(images))


def _failed(error: Exception) -> Exception:
    if isinstance(error, RefusedError):
        return error
    if isinstance(error, DataError):
        return RefusedError(415, "not_an_image", str(error))
    why = (str(error).splitlines() or [type(error).__name__])[0][:200]
    return RefusedError(503, "failed", f"the image could not be embedded ({why}): try again, or with a smaller one")
