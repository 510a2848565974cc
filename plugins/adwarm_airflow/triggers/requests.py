"""Starts `adwarm_request_queue` when a request is enqueued."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseEventTrigger, TriggerEvent

if TYPE_CHECKING:
    from adwarm.backpressure import RequestQueue
    from adwarm.backpressure.request_queue import QueueStatus

PICKUP_SECONDS = 10.0
REPEAT_SECONDS = 60.0


@dataclass
class WakeUpPolicy:
    """Decides whether the state of the queue should start a run: one per burst, none while a worker is active.

    Attributes:
        announced_ids: the ready requests when the last run was started.
        newest_id: the highest id among all announced requests.
        announced_at: when the last run was started, seconds of a monotonic clock.
    """

    announced_ids: frozenset[int] = frozenset()
    newest_id: int = 0
    announced_at: float = float("-inf")

    def should_fire(self, queue: QueueStatus, now: float) -> bool:
        """Whether to start a run now; `now` is in seconds of a monotonic clock.

        A new request starts a run at once. When requests of an earlier announcement are still ready, the run started
        for them will also take the new one, so another is started only after 10 s. Requests that were announced and
        are still ready start another run after a minute.
        """
        if not queue.ready or queue.has_active_worker:
            return False
        pause = REPEAT_SECONDS
        if queue.ready[-1] > self.newest_id:
            pause = 0.0 if self.announced_ids.isdisjoint(queue.ready) else PICKUP_SECONDS
        if now - self.announced_at < pause:
            return False
        self.announced_ids, self.newest_id, self.announced_at = (
            frozenset(queue.ready),
            max(self.newest_id, queue.ready[-1]),
            now,
        )
        return True


class PendingRequestsTrigger(BaseEventTrigger):
    """Polls the request table, and fires when requests are ready and no worker processes them.

    Args:
        seconds: time between two polls.
    """

    def __init__(self, seconds: float = 2.0) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Airflow leaves it unannotated
        self.seconds = seconds
        self._queue: RequestQueue | None = None

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class path and the arguments that recreate this trigger."""
        return ("adwarm_airflow.triggers.requests.PendingRequestsTrigger", {"seconds": self.seconds})

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Poll until cancelled; log a failed poll and continue."""
        wake_up = WakeUpPolicy()
        while True:
            queue = await self._poll_status()
            if queue and wake_up.should_fire(queue, time.monotonic()):
                yield TriggerEvent({"pending": queue.to_dict()["pending"]})
            await asyncio.sleep(self.seconds)

    async def _poll_status(self) -> QueueStatus | None:
        try:
            return await asyncio.to_thread(self._status)
        except Exception as error:
            self.log.warning("cannot read the request queue (%s: %s); retrying", type(error).__name__, error)
            return None

    def _status(self) -> QueueStatus:
        """Return the state of the queue; the database is opened at the first poll, in this process."""
        if self._queue is None:
            from adwarm_airflow.task_context import open_runtime

            self._queue = open_runtime().queue
        return self._queue.status()
