"""Starts `adwarm_request_queue` when a request is enqueued."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseEventTrigger, TriggerEvent

if TYPE_CHECKING:
    from adwarm.backpressure import RequestQueue
    from adwarm.backpressure.request_queue import QueueStatus
    from adwarm.backpressure.wake_up import WakeUpPolicy


class PendingRequestsTrigger(BaseEventTrigger):
    """Polls the request table, and fires when requests are ready and no worker processes them."""

    def __init__(self, seconds: float = 2.0) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Airflow leaves it unannotated
        self.seconds = seconds
        self._queue: RequestQueue | None = None

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class path and the arguments that recreate this trigger."""
        return ("adwarm_airflow.triggers.requests.PendingRequestsTrigger", {"seconds": self.seconds})

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Poll until cancelled; log a failed poll and continue."""
        wake_up = await asyncio.to_thread(_make_policy)
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

            self._queue = open_runtime(uses_objects=False).queue
        return self._queue.status()


def _make_policy() -> WakeUpPolicy:
    """Return a new policy; the first import of its package takes too long for the event loop."""
    from adwarm.backpressure.wake_up import WakeUpPolicy

    return WakeUpPolicy()
