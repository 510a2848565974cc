"""Many threads, one transaction: who comes while one is under way shares the next.

The first thread that finds nobody at it does the work for all who wait, so that the cost of a commit is paid once for
them. Nobody returns before the transaction that holds its answer is committed.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

Job = TypeVar("Job")
MAX_JOBS = 64


@dataclass(slots=True, eq=False)
class _Entry(Generic[Job]):
    job: Job
    error: BaseException | None = None
    is_done: bool = False


class GroupCommitter(Generic[Job]):
    """Collects the jobs of all threads and has them done in batches, in the order they came.

    Args:
        work: does the jobs that the callable handed to it returns. It calls that once, as late as it can, so that a
            batch holds whoever came while it waited for its turn. What it raises, every job of the batch raises.
    """

    def __init__(self, work: Callable[[Callable[[], list[Job]]], None]) -> None:
        self._work = work
        self._waiting: list[_Entry[Job]] = []
        self._changed = threading.Condition()
        self._is_led = False

    def submit(self, job: Job) -> None:
        """Return when `job` is done, by this thread or by another."""
        entry = _Entry(job)
        with self._changed:
            self._waiting.append(entry)
        while self._must_lead(entry):
            self._lead()
        if entry.error is not None:
            raise entry.error

    def _must_lead(self, entry: _Entry[Job]) -> bool:
        """Wait until the entry is done, or nobody works on what waits; True in the latter case."""
        with self._changed:
            self._changed.wait_for(lambda: entry.is_done or not self._is_led)
            if entry.is_done:
                return False
            self._is_led = True
            return True

    def _lead(self) -> None:
        batch: list[_Entry[Job]] = []

        def take() -> list[Job]:
            with self._changed:
                batch.extend(self._waiting[:MAX_JOBS])
                del self._waiting[:MAX_JOBS]
            return [entry.job for entry in batch]

        error: BaseException | None = None
        try:
            self._work(take)
        except BaseException as raised:
            error = raised
        if not batch:
            take()
        with self._changed:
            self._is_led = False
            for entry in batch:
                entry.error, entry.is_done = error, True
            self._changed.notify_all()
