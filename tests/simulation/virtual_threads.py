"""Threads in virtual time: code that blocks, such as the recovery pipeline, runs in the event-driven simulation.

One thread runs at a time. Each runs until it sleeps or ends, and then lets the scheduler go on; equal seeds therefore
give equal simulations.
"""

import threading
from collections.abc import Callable
from datetime import UTC, datetime

from .agenda import EventScheduler


class VirtualThreads:
    """A clock whose sleeps pass virtual time, and the threads that use it.

    Args:
        scheduler: the events of the simulation.
    """

    def __init__(self, scheduler: EventScheduler) -> None:
        self._scheduler = scheduler
        self._paused = threading.Semaphore(0)  # released by the running thread when it sleeps or ends
        self._local = threading.local()
        self.errors: list[BaseException] = []

    def now(self) -> datetime:
        """Return the time of the simulation in UTC."""
        return datetime.fromtimestamp(self._scheduler.now, UTC)

    def sleep(self, seconds: float) -> None:
        """Let `seconds` of the simulation pass; called by threads of `start` only."""
        wake: threading.Semaphore = self._local.wake
        self._scheduler.schedule(seconds, lambda: self._resume(wake))
        self._paused.release()
        wake.acquire()

    def start(self, work: Callable[[], None]) -> None:
        """Run `work` in a thread from now on."""
        wake = threading.Semaphore(0)

        def run() -> None:
            self._local.wake = wake
            wake.acquire()
            try:
                work()
            except BaseException as error:  # raised where the simulation is run
                self.errors.append(error)
            finally:
                self._paused.release()

        threading.Thread(target=run, daemon=True).start()
        self._scheduler.schedule(0.0, lambda: self._resume(wake))

    def _resume(self, wake: threading.Semaphore) -> None:
        wake.release()
        self._paused.acquire()
        if self.errors:
            raise self.errors[0]
