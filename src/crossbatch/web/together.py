"""What several people want at once, done at once: whatever has come while a thread was busy goes together."""

import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Generic, TypeVar

from crossbatch.web.limits import RefusedError

MOST = 32  # jobs of one pass
Job = TypeVar("Job")
Answer = TypeVar("Answer")


class Together(Generic[Job, Answer]):
    """A thread that works on all that has come; nothing waits for a pass to fill.

    Args:
        work: From jobs to an answer for each. If it fails, each job is tried alone.
        name: Of the thread.
        first: What the thread does before the first job.
        failed: What whoever waits is told of an error.
    """

    def __init__(
        self,
        work: Callable[[Sequence[Job]], Sequence[Answer]],
        name: str,
        first: Callable[[], None] = lambda: None,
        failed: Callable[[Exception], Exception] = lambda error: error,
    ) -> None:
        self._work, self._failed = work, failed
        self._jobs = queue.SimpleQueue[tuple[Job, Future[Answer]] | None]()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, args=(first,), name=name, daemon=True)
        self._thread.start()

    def submit(self, job: Job) -> "Future[Answer]":
        """The answer, once it is there."""
        answer: Future[Answer] = Future()
        if self._stopping:
            answer.set_exception(_stopping())
        else:
            self._jobs.put((job, answer))
        return answer

    def close(self, seconds: float) -> None:
        """Finish the pass that has begun, refuse what waits, and end the thread, for which it waits so long."""
        self._stopping = True
        self._jobs.put(None)
        self._thread.join(timeout=seconds)

    def _run(self, first: Callable[[], None]) -> None:
        first()
        while (one := self._jobs.get()) is not None:
            jobs = [one]
            while len(jobs) < MOST and not self._jobs.empty():
                more = self._jobs.get()
                if more is None:
                    self._stopping = True
                    break
                jobs.append(more)
            self._answer([job for job in jobs if job[1].set_running_or_notify_cancel()])
            if self._stopping:
                break
        while not self._jobs.empty():
            left = self._jobs.get()
            if left is not None and left[1].set_running_or_notify_cancel():
                left[1].set_exception(_stopping())

    def _answer(self, jobs: Sequence[tuple[Job, "Future[Answer]"]]) -> None:
        try:
            answers = list(zip(jobs, self._work([job for job, _ in jobs]) if jobs else (), strict=True))
        except Exception as error:  # whoever waits must hear of it; the thread serves those who come next
            if len(jobs) == 1:
                jobs[0][1].set_exception(self._failed(error))
                return
            for one in jobs:  # each alone: those beside the one that fails are answered
                self._answer([one])
            return
        for (_, waiting), answer in answers:
            waiting.set_result(answer)


def _stopping() -> RefusedError:
    return RefusedError(503, "stopping", "the server stops")
