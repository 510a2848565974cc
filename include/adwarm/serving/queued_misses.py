"""Requests what is missing through the queue, without waiting for it."""

import asyncio
from concurrent.futures import Executor

from adwarm.backpressure import RequestQueue
from adwarm.foundation.errors import AdwarmError
from adwarm.model import AccessToken, Priority, ReportKey
from adwarm.serving.ports import FetchOutcome
from adwarm.serving.token_rights import cut_priority

_RETRY_SECONDS = 5.0


class QueuedMisses:
    """Enqueues requests; whoever drains the queue fetches them."""

    def __init__(self, queue: RequestQueue, executor: Executor) -> None:
        self._queue = queue
        self._executor = executor

    async def fetch(
        self, key: ReportKey, token: AccessToken, priority: Priority, wait_seconds: float, *, has_entry: bool = False
    ) -> FetchOutcome:
        """Enqueue a report."""
        loop = asyncio.get_running_loop()
        ticket = await loop.run_in_executor(self._executor, self._queue.enqueue, key, cut_priority(token, priority))
        return FetchOutcome(is_stored=False, request_id=ticket.id, retry_after=_RETRY_SECONDS)

    def revalidate(self, key: ReportKey, token: AccessToken, priority: Priority) -> None:
        """Enqueue a report without waiting."""
        future = self._executor.submit(self._queue.enqueue, key, cut_priority(token, priority))
        future.add_done_callback(lambda done: isinstance(done.exception(), AdwarmError))
