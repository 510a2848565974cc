"""The rules of the request queue, without a clock or a database: who goes first, who makes room, who is given up.

Moments are seconds since the epoch. The order never changes while a request waits: each class is worth
`ageing_seconds` of waiting, so the urgent overtake, and the oldest still come to their turn, but for critical requests
that somebody waits for: those go first.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from adwarm.model import Priority
from adwarm.settings import BackpressureSettings
from adwarm.store.requests import QueuedRequest, RequestStatus

_LONGEST_HINT_SECONDS = 60.0
_FIRST_PAUSE_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class QueueRules:
    """The numbers of the queue.

    Attributes:
        size: pending requests at the most.
        timeout_seconds: deadline of a request nobody waits for.
        caller_seconds: the longest deadline of a request somebody waits for.
        lease_seconds: a worker that is silent for this long has lost its requests.
    """

    size: int = 100
    timeout_seconds: float = 900.0
    max_caller_wait_seconds: float = 30.0
    ageing_seconds: float = 120.0
    max_attempts: int = 3
    lease_seconds: float = 30.0

    @classmethod
    def from_settings(cls, settings: BackpressureSettings) -> "QueueRules":
        """Return the rules that the settings ask for."""
        return cls(
            settings.queue_size,
            settings.queue_timeout_seconds,
            settings.timeout_seconds,
            settings.queue_ageing_seconds,
            settings.queue_max_attempts,
            settings.lease_seconds,
        )

    def sort_key(self, request: QueuedRequest) -> tuple[float, int]:
        """Return what requests are served by, the smallest first.

        A critical request is due at its deadline, which is near when somebody waits for it: it cannot be old enough to
        be overtaken. The others are due a whole timeout after they came, whoever waits for them.
        """
        is_critical = request.priority is Priority.CRITICAL
        due = request.deadline if is_critical else request.enqueued_at + self.timeout_seconds
        return (due + int(request.priority) * self.ageing_seconds, request.id)

    def next_in_line(self, ready: Sequence[QueuedRequest], limit: int) -> list[QueuedRequest]:
        """Return the first request and up to `limit` - 1 more of its class, in the order they are served.

        One that was tried before goes alone, so that a poisonous one takes nobody along a second time.
        """
        line = sorted(ready, key=self.sort_key)
        if line and line[0].attempts:
            return line[:1]
        return [item for item in line if item.priority is line[0].priority and not item.attempts][:limit]

    def deadline(self, now: float, wait_seconds: float | None) -> float:
        """Return the deadline of a request that somebody waits for, or that nobody does."""
        return now + (self.timeout_seconds if wait_seconds is None else min(wait_seconds, self.max_caller_wait_seconds))

    def is_exhausted(self, attempts: int) -> bool:
        """Whether a request that ended badly this many times is not tried again."""
        return attempts >= self.max_attempts

    def backoff_seconds(self, attempts: int) -> float:
        """Return how long a request rests after its n-th bad try, in seconds."""
        return _FIRST_PAUSE_SECONDS * 2.0 ** max(0, attempts - 1)


def can_displace(lowest: QueuedRequest, newcomer: Priority) -> bool:
    """Whether the least urgent pending request goes for a newcomer: only for one of a more urgent class."""
    return newcomer < lowest.priority


def estimate_retry_seconds(finished_last_minute: int, earliest_deadline: float | None, now: float) -> float:
    """Return after how many seconds a place should be free, told from the pace and from who runs out first."""
    by_pace = 60.0 / finished_last_minute if finished_last_minute else _LONGEST_HINT_SECONDS
    by_deadline = _LONGEST_HINT_SECONDS if earliest_deadline is None else earliest_deadline - now
    return max(1.0, min(by_pace, by_deadline, _LONGEST_HINT_SECONDS))


@dataclass(frozen=True, slots=True)
class ClassStatus:
    """One class of the queue; `oldest_seconds` is how long its first pending request has waited."""

    pending: int = 0
    processing: int = 0
    oldest_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class QueueStatus:
    """The queue as it stands.

    Attributes:
        ready: ids of the requests that could be taken now, ascending.
        in_work: whether a worker with a live lease holds any.
    """

    size: int
    classes: dict[Priority, ClassStatus]
    ready: tuple[int, ...] = ()
    has_active_worker: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Return the counts as plain values."""
        by_class = {
            priority.name.lower(): {
                "pending": found.pending,
                "processing": found.processing,
                "oldest_seconds": found.oldest_seconds,
            }
            for priority, found in self.classes.items()
        }
        return {"size": self.size, "pending": sum(found.pending for found in self.classes.values()), **by_class}


def summarize_queue(found: Sequence[QueuedRequest], rules: QueueRules, now: float) -> QueueStatus:
    """Sum up the open requests; a pending one that is past its deadline counts nowhere."""
    waiting = [item for item in found if item.status is RequestStatus.PENDING and item.deadline > now]
    working = [item for item in found if item.status is RequestStatus.PROCESSING]
    lapsed = [item for item in working if (item.lease_until or 0.0) <= now]
    ready = [item for item in waiting if (item.not_before or 0.0) <= now]
    return QueueStatus(
        rules.size,
        {priority: _class(priority, waiting, working, now) for priority in Priority},
        tuple(sorted(item.id for item in [*ready, *lapsed])),
        len(lapsed) < len(working),
    )


def _class(
    priority: Priority, waiting: Sequence[QueuedRequest], working: Sequence[QueuedRequest], now: float
) -> ClassStatus:
    mine = [now - item.enqueued_at for item in waiting if item.priority is priority]
    busy = sum(item.priority is priority for item in working)
    return ClassStatus(len(mine), busy, max(mine, default=None))
