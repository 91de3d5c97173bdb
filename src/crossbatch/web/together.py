"""Batching of jobs: all that arrive while the thread is busy are done together in its next pass."""

import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Generic, TypeVar

from crossbatch.web.limits import RefusedError

MOST = 32  # most jobs of one pass
Job = TypeVar("Job")
Answer = TypeVar("Answer")


class Together(Generic[Job, Answer]):
    """A thread that works on all waiting jobs at once; it does not wait for more jobs to arrive.

    Args:
        work: Function from jobs to one answer each. If it fails, each job is tried alone.
        name: Name of the thread.
        first: Called in the thread before the first job.
        failed: Turns an exception of `work` into the one that the job's future raises.
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
        """Queue a job; return the future of its answer."""
        answer: Future[Answer] = Future()
        if self._stopping:
            answer.set_exception(_stopping())
        else:
            self._jobs.put((job, answer))
        return answer

    def close(self, seconds: float) -> None:
        """Finish the present pass, refuse waiting jobs and end the thread; wait at most `seconds` for its end."""
        self._stopping = True
        self._jobs.put(None)
        self._thread.join(timeout=seconds)

    def _run(self, first: Callable[[], None]) -> None:
        first()
        while (oldest := self._jobs.get()) is not None:
            jobs = [oldest]
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
            waiting = self._jobs.get()
            if waiting is not None and waiting[1].set_running_or_notify_cancel():
                waiting[1].set_exception(_stopping())

    def _answer(self, jobs: Sequence[tuple[Job, "Future[Answer]"]]) -> None:
        try:
            answers = list(zip(jobs, self._work([job for job, _ in jobs]) if jobs else (), strict=True))
        except Exception as error:  # goes to the futures; the thread must live on for later jobs
            if len(jobs) == 1:
                jobs[0][1].set_exception(self._failed(error))
                return
            for job in jobs:  # each alone, so that only the job that fails gets an error
                self._answer([job])
            return
        for (_, future), answer in answers:
            future.set_result(answer)


def _stopping() -> RefusedError:
    return RefusedError(503, "stopping", "the server is stopping")
