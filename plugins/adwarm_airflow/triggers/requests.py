"""Wakes `adwarm_request_queue` when somebody has enqueued a request."""

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
    """Decides when a look at the queue is worth a run: one for a burst, none while a worker is at it."""

    announced_ids: frozenset[int] = frozenset()
    newest_id: int = 0
    announced_at: float = float("-inf")

    def should_fire(self, queue: QueueStatus, now: float) -> bool:
        """Whether to start a run now; `now` in seconds of any steady clock.

        A new request starts one at once, unless the run that was started for those before it has yet to take them:
        it will take this one too, or 10 s have passed. What was announced and is still there is told again after a
        minute.
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
    """Looks at the request table every `seconds`, and speaks when requests wait and nobody works on them.

    Args:
        seconds: time between two looks.
    """

    def __init__(self, seconds: float = 2.0) -> None:
        super().__init__()
        self.seconds = seconds
        self._queue: RequestQueue | None = None

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return what it takes to make this trigger again."""
        return ("adwarm_airflow.triggers.requests.PendingRequestsTrigger", {"seconds": self.seconds})

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Look for ever; a look that fails is told in the log and made again."""
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
            self.log.warning("the request queue cannot be seen (%s: %s); trying again", type(error).__name__, error)
            return None

    def _status(self) -> QueueStatus:
        """Return the queue as it stands; the database is opened at the first look."""
        if self._queue is None:
            from adwarm_airflow.task_context import open_runtime

            self._queue = open_runtime().queue
        return self._queue.status()
