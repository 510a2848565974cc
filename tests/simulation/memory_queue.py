"""The request queue in memory with the real rules: `RequestQueue` without SQL.

The simulation uses it, and the stateful test compares `RequestQueue` with it.
"""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any

from adwarm.backpressure.request_queue import QueueRules, can_displace, estimate_retry_seconds
from adwarm.foundation.errors import Refused
from adwarm.model import Priority, ReportKey
from adwarm.store.requests import QueuedRequest, RequestStatus


@dataclass
class MemoryQueue:
    """Requests by id. Every method takes the current time.

    Attributes:
        waiting: ids of the pending requests; `working` those of the processing ones.
        next_due: no deadline passes and no lease expires before this time.
    """

    rules: QueueRules
    requests: dict[int, QueuedRequest] = field(default_factory=dict)
    waiting: dict[int, None] = field(default_factory=dict)
    working: dict[int, None] = field(default_factory=dict)
    next_due: float = float("inf")
    by_key: dict[ReportKey, int] = field(default_factory=dict)
    ended: deque[tuple[float, RequestStatus]] = field(default_factory=deque)
    ids: Any = field(default_factory=lambda: count(1))

    def enqueue(self, key: ReportKey, priority: Priority, now: float, wait_seconds: float | None = None) -> int:
        """Add a request or join an equal one, and return its id.

        Raises:
            Refused: the queue is full of requests that are as urgent.
        """
        self.sweep(now)
        deadline = self.rules.deadline(now, wait_seconds)
        if (known := self.by_key.get(key)) is not None:
            found = self.requests[known]
            self.requests[known] = replace(
                found, priority=min(found.priority, priority), deadline=max(found.deadline, deadline)
            )
            return known
        self._make_room(priority, now)
        number = next(self.ids)
        self.requests[number] = QueuedRequest(number, key, priority, RequestStatus.PENDING, now, deadline)
        self.waiting[number] = None
        self.next_due = min(self.next_due, deadline)
        self.by_key[key] = number
        return number

    def dequeue(self, owner: str, now: float, limit: int = 1) -> list[QueuedRequest]:
        """Take the next request, and up to `limit` - 1 more of its class, under one lease."""
        self.sweep(now)
        return [self._taken(item, owner, now) for item in self.rules.next_in_line(self._first_ready(now, limit), limit)]

    def renew(self, taken: QueuedRequest, now: float) -> bool:
        """Extend a lease, if it is still held."""
        return self._change(taken, lease_until=now + self.rules.lease_seconds)

    def ack(self, taken: QueuedRequest, now: float) -> bool:
        """End a request as completed, or as expired when it took too long; False when it was lost."""
        late = now > self.requests[taken.id].deadline
        status, error = (RequestStatus.EXPIRED, "late") if late else (RequestStatus.COMPLETED, None)
        return self._end(taken, status, now, error)

    def fail(self, taken: QueuedRequest, reason: str, now: float) -> bool:
        """End a request as failed; False when it was lost."""
        return self._end(taken, RequestStatus.FAILED, now, reason)

    def requeue(self, taken: QueuedRequest, reason: str, now: float, retry_after: float | None = None) -> bool:
        """Return a request after a failed attempt, or end it after the last; False when it was lost."""
        if retry_after is None and self.rules.is_exhausted(taken.attempts):
            return self._end(taken, RequestStatus.FAILED, now, reason)
        rest = self.rules.backoff_seconds(taken.attempts) if retry_after is None else max(0.0, retry_after)
        done = self._back(taken, now + rest, reason, taken.attempts - (retry_after is not None))
        self.sweep(now)
        return done

    def pending(self) -> list[QueuedRequest]:
        """Return the pending requests."""
        return [self.requests[number] for number in self.waiting]

    def sweep(self, now: float) -> None:
        """Expire late requests, take back those of dead workers, and shed what exceeds the size."""
        if now >= self.next_due:
            for number in [*self.waiting, *self.working]:
                item = self.requests[number]
                if _due(item) <= now:
                    self._overdue(item, now)
            self.next_due = min((_due(self.requests[n]) for n in (*self.waiting, *self.working)), default=float("inf"))
        while len(self.waiting) > self.rules.size:
            self._end(_least_urgent(self.pending()), RequestStatus.SHED, now, "full")

    def _overdue(self, item: QueuedRequest, now: float) -> None:
        if item.deadline <= now:
            self._end(item, RequestStatus.EXPIRED, now, item.error or "late")
        elif self.rules.is_exhausted(item.attempts):
            self._end(item, RequestStatus.FAILED, now, "its worker died")
        else:
            self._back(item, None, "its worker died", item.attempts)

    def _make_room(self, priority: Priority, now: float) -> None:
        if len(self.waiting) < self.rules.size:
            return
        waiting = self.pending()
        lowest = _least_urgent(waiting)
        if not can_displace(lowest, priority):
            worked = {RequestStatus.COMPLETED, RequestStatus.FAILED}
            lately = sum(status in worked and at >= now - 60.0 for at, status in self.ended)
            hint = estimate_retry_seconds(lately, min(item.deadline for item in waiting), now)
            raise Refused("the queue is full", retry_after=hint)
        self._end(lowest, RequestStatus.SHED, now, "a more urgent one came")

    def _first_ready(self, now: float, limit: int) -> list[QueuedRequest]:
        ready = [item for item in self.pending() if (item.not_before or 0.0) <= now]
        ready.sort(key=self.rules.sort_key)
        found: list[QueuedRequest] = []
        for priority in Priority:
            found.extend([item for item in ready if item.priority is priority][:limit])
        return found

    def _taken(self, item: QueuedRequest, owner: str, now: float) -> QueuedRequest:
        changes = {"attempts": item.attempts + 1, "token": item.token + 1, "owner": owner, "not_before": None}
        until = now + self.rules.lease_seconds
        taken = replace(item, status=RequestStatus.PROCESSING, lease_until=until, **changes)
        self.requests[item.id] = taken
        self.waiting.pop(item.id)
        self.working[item.id] = None
        self.next_due = min(self.next_due, until)
        return taken

    def _back(self, item: QueuedRequest, until: float | None, why: str, attempts: int) -> bool:
        changes = {"owner": None, "lease_until": None, "not_before": until, "error": why, "attempts": attempts}
        if not self._change(item, status=RequestStatus.PENDING, **changes):
            return False
        self.working.pop(item.id)
        self.waiting[item.id] = None
        self.next_due = min(self.next_due, item.deadline)
        return True

    def _end(self, item: QueuedRequest, status: RequestStatus, now: float, error: str | None) -> bool:
        if not self._change(item, status=status, error=error, lease_until=None, finished_at=now):
            return False
        self.waiting.pop(item.id, None)
        self.working.pop(item.id, None)
        self.by_key.pop(item.key)
        self.ended.append((now, status))
        while self.ended[0][0] < now - 60.0:
            self.ended.popleft()
        return True

    def _change(self, seen: QueuedRequest, **values: Any) -> bool:
        """Change a request if its status and token are unchanged since the caller read them."""
        found = self.requests[seen.id]
        if (found.status, found.token) != (seen.status, seen.token):
            return False
        self.requests[seen.id] = replace(found, **values)
        return True

    def counts(self) -> Mapping[RequestStatus, int]:
        """Return how many requests are in each state."""
        found = [item.status for item in self.requests.values()]
        return {status: found.count(status) for status in RequestStatus}


def _due(item: QueuedRequest) -> float:
    """Return when the deadline of a pending request passes, or the lease of a processing one expires."""
    return item.deadline if item.status is RequestStatus.PENDING else item.lease_until or 0.0


def _least_urgent(waiting: list[QueuedRequest]) -> QueuedRequest:
    return max(waiting, key=lambda item: (item.priority, item.enqueued_at, item.id))
