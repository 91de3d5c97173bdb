"""Queries of several people through the network at once: what has come while it was busy goes together."""

import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from crossbatch.errors import DataError
from crossbatch.web.limits import RefusedError

TOGETHER = 32  # images of one pass at most


@runtime_checkable
class Model(Protocol):
    """What embeds: `crossbatch.load` returns one."""

    def embed(self, images: Sequence[Any], *, batch_size: int = 64) -> NDArray[np.float32]:
        """Unit rows [images, dim]."""


class Batcher:
    """A thread that loads a model, and then embeds what comes; nothing waits for a batch to fill."""

    def __init__(self, load: Callable[[], Model]) -> None:
        self._load, self._jobs = load, queue.SimpleQueue[tuple[Any, Future[NDArray[np.float32]]] | None]()
        self.ready, self.failure = False, ""
        self._stopping = False
        self._thread = threading.Thread(target=self._work, name="embedding", daemon=True)
        self._thread.start()

    def submit(self, image: Any) -> "Future[NDArray[np.float32]]":
        """The embedding [dim] of an image, once it is there."""
        job: Future[NDArray[np.float32]] = Future()
        if self._stopping:
            job.set_exception(_stopping())
        else:
            self._jobs.put((image, job))
        return job

    def close(self) -> None:
        """Finish the pass that has begun, refuse what waits, and end the thread."""
        self._stopping = True
        self._jobs.put(None)
        if self.ready:
            self._thread.join(timeout=10)

    def _work(self) -> None:
        model: Model | None = None
        try:
            model = self._load()
        except Exception as error:  # told to whoever searches with an image; all else goes on
            self.failure = str(error)
        self.ready = model is not None
        while (first := self._jobs.get()) is not None:
            jobs = [first]
            while len(jobs) < TOGETHER and not self._jobs.empty():
                more = self._jobs.get()
                if more is None:
                    self._stopping = True
                    break
                jobs.append(more)
            jobs = [job for job in jobs if job[1].set_running_or_notify_cancel()]
            self._answer(model, jobs)
            if self._stopping:
                break
        while not self._jobs.empty():
            left = self._jobs.get()
            if left is not None and left[1].set_running_or_notify_cancel():
                left[1].set_exception(_stopping())

    def _answer(self, model: Model | None, jobs: Sequence[tuple[Any, "Future[NDArray[np.float32]]"]]) -> None:
        if model is None:
            told = f"the gallery's model could not be loaded ({self.failure}): only its own images can be searched with"
            for _, job in jobs:
                job.set_exception(RefusedError(503, "no_model", told))
            return
        try:
            rows = model.embed([image for image, _ in jobs]) if jobs else ()
            found = list(zip(jobs, rows, strict=True))
        except Exception as error:  # whoever waits must hear of it; the thread serves those who come next
            if len(jobs) == 1:
                jobs[0][1].set_exception(_failed(error))
                return
            for one in jobs:  # each alone: those beside the one that fails are answered
                self._answer(model, [one])
            return
        for (_, job), row in found:
            job.set_result(row)


def _failed(error: Exception) -> RefusedError:
    if isinstance(error, DataError):
        return RefusedError(415, "not_an_image", str(error))
    why = (str(error).splitlines() or [type(error).__name__])[0][:200]
    return RefusedError(503, "failed", f"the image could not be embedded ({why}): try again, or with a smaller one")


def _stopping() -> RefusedError:
    return RefusedError(503, "stopping", "the server stops")
