"""Decides when waiting requests should start a run that drains the queue."""

from dataclasses import dataclass

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
