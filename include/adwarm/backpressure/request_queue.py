"""The request queue in SQL: bounded, one flight per report, served by priority, whatever dies.

Guarantees: at most `queue_size` requests are pending; an accepted one ends as completed, failed, expired or shed, with
a reason unless completed; a request is in the hands of one worker at a time, and a worker that lost it cannot end it.
Each operation is one short write transaction, and every moment in it is the database's own.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection, Engine

from adwarm.foundation.errors import BadRequest, Refused
from adwarm.model import Priority, ReportKey
from adwarm.settings import BackpressureSettings
from adwarm.store import requests
from adwarm.store.database import database_time, read_transaction, write_transaction
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


RETENTION_SECONDS = 7 * 86_400.0
"""An ended request is kept this long."""


@dataclass(frozen=True, slots=True)
class Ticket:
    """What a caller holds of a request; `joined` when an equal one was on its way already."""

    id: int
    joined: bool
    deadline: float


@dataclass(frozen=True, slots=True)
class ClaimedRequest:
    """A request in the hands of this worker; `seconds_left` until its deadline, counted from the taking."""

    request: QueuedRequest
    seconds_left: float


class RequestQueue:
    """Requests for reports, kept in the table `request`. Safe to share between threads."""

    def __init__(
        self,
        engine: Engine,
        settings: BackpressureSettings,
        *,
        owner: str,
        database_time: Callable[[Connection], float] = database_time,
    ) -> None:
        self._engine = engine
        self._owner = owner
        self._time = database_time
        self.rules = QueueRules.from_settings(settings)

    def enqueue(self, key: ReportKey, priority: Priority, *, wait_seconds: float | None = None) -> Ticket:
        """Queue a request, or join the equal one that is on its way and lend it this urgency and deadline.

        Args:
            key: the report.
            priority: the class it is served in.
            wait_seconds: how long the caller waits, cut to `timeout_seconds`; None when nobody waits.

        Raises:
            Refused: the queue is full of requests that are as urgent; `retry_after` says when to ask again.
            BadRequest: `wait_seconds` is not positive.
        """
        if wait_seconds is not None and not wait_seconds > 0:
            raise BadRequest(f"a caller cannot wait for {wait_seconds} s; write a number of seconds above 0")
        with write_transaction(self._engine) as connection:
            now = self._start(connection)
            deadline = self.rules.deadline(now, wait_seconds)
            known = requests.find_in_flight(connection, key)
            if known:
                return self._join(connection, known, priority, deadline)
            refusal = self._make_room(connection, priority, now)
            if refusal is None:
                return Ticket(requests.insert_pending(connection, key, priority, now, deadline), False, deadline)
        raise refusal  # after the commit, so that the sweep is kept

    def dequeue(self, limit: int) -> list[ClaimedRequest]:
        """Take the request whose turn it is, and up to `limit` - 1 more of its class, for one lease."""
        with write_transaction(self._engine) as connection:
            now = self._start(connection)
            line = self.rules.next_in_line(requests.list_oldest_ready(connection, now, limit), limit)
            return [ClaimedRequest(self._taken(connection, item, now), item.deadline - now) for item in line]

    def renew(self, claims: Sequence[ClaimedRequest]) -> list[ClaimedRequest]:
        """Extend the leases of those claims that are still held, and return them."""
        with write_transaction(self._engine) as connection:
            requests.lock(connection)
            until = self._time(connection) + self.rules.lease_seconds
            return [claim for claim in claims if requests.update_request(connection, claim.request, lease_until=until)]

    def ack(self, claim: ClaimedRequest, result: Mapping[str, Any]) -> bool:
        """End a request with its result; False when it was lost meanwhile. One that took too long ends as expired."""
        with write_transaction(self._engine) as connection:
            requests.lock(connection)
            now = self._time(connection)
            late = now - self._newest_deadline(connection, claim)
            status, error = RequestStatus.COMPLETED, None
            if late > 0:
                status, error = (
                    RequestStatus.EXPIRED,
                    f"it was done {late:.1f} s after its deadline; the answer is kept",
                )
            return _end(connection, claim.request, status, now, error, dict(result))

    def fail(self, claim: ClaimedRequest, reason: str) -> bool:
        """End a request that no further try would help; False when it was lost meanwhile."""
        with write_transaction(self._engine) as connection:
            requests.lock(connection)
            return _end(connection, claim.request, RequestStatus.FAILED, self._time(connection), reason)

    def requeue(self, claim: ClaimedRequest, reason: str, *, retry_after: float | None = None) -> bool:
        """Put a request back after a bad try; False when it was lost meanwhile.

        What an earlier try failed with is kept when this one only has to wait: that is what the request ends with if
        its time runs out.

        Args:
            claim: the request.
            reason: why the try ended.
            retry_after: the upstream's or the budget's wish, in seconds; such a try is not held against the request.
                None: the try counts, and the last one ends the request as failed.
        """
        with write_transaction(self._engine) as connection:
            requests.lock(connection)
            now, request = self._time(connection), claim.request
            if retry_after is None and self.rules.is_exhausted(request.attempts):
                why = f"given up after {request.attempts} tries; the last: {reason}"
                return _end(connection, request, RequestStatus.FAILED, now, why)
            # Whatever was asked for, a request that rests beyond its deadline has expired.
            asked = 0.0 if retry_after is None else min(max(0.0, retry_after), self.rules.timeout_seconds)
            rest = self.rules.backoff_seconds(request.attempts) if retry_after is None else asked
            attempts = request.attempts if retry_after is None else request.attempts - 1
            own = request.error if retry_after is not None and attempts > 0 else None
            done = _requeue(connection, request, now + rest, own or reason, attempts)
            self._sweep(connection, now)
            return done

    def find(self, request_id: int) -> QueuedRequest | None:
        """Return a request as it is now; one that waits past its deadline reads as expired."""
        with read_transaction(self._engine) as connection:
            found, now = requests.find(connection, request_id), self._time(connection)
        if found and found.status is RequestStatus.PENDING and found.deadline <= now:
            return replace(found, status=RequestStatus.EXPIRED, error=found.error or "nobody took it in time")
        return found

    def status(self) -> QueueStatus:
        """Return what waits and what is worked on, by class; what is past its deadline does not count as waiting."""
        with read_transaction(self._engine) as connection:
            return summarize_queue(requests.list_open(connection), self.rules, self._time(connection))

    def delete_old(self) -> int:
        """Delete requests that ended a week ago, and return how many."""
        with write_transaction(self._engine) as connection:
            return requests.delete_finished(connection, self._time(connection) - RETENTION_SECONDS)

    def _start(self, connection: Connection) -> float:
        """Let nobody else in, put the queue in order, and return the present moment."""
        requests.lock(connection)
        now = self._time(connection)
        self._sweep(connection, now)
        return now

    def _sweep(self, connection: Connection, now: float) -> None:
        """Expire what is late, take back what dead workers hold, and shed what that leaves too many."""
        for request in requests.list_overdue(connection, now):
            if request.deadline <= now:
                why = request.error or ("nobody took it in time" if not request.attempts else "its worker died")
                _end(connection, request, RequestStatus.EXPIRED, now, f"past its deadline; {why}")
            elif self.rules.is_exhausted(request.attempts):
                why = f"given up after {request.attempts} tries; the worker {request.owner} died over the last"
                _end(connection, request, RequestStatus.FAILED, now, why)
            else:
                _requeue(connection, request, None, f"the worker {request.owner} died over it", request.attempts)
        excess = requests.count_pending(connection) - self.rules.size
        for request in requests.list_least_urgent(connection, excess) if excess > 0 else []:
            _shed(connection, request, now, "requests came back to a full queue")

    def _join(self, connection: Connection, known: QueuedRequest, priority: Priority, deadline: float) -> Ticket:
        urgency, until = min(known.priority, priority), max(known.deadline, deadline)
        requests.update_request(connection, known, priority=int(urgency), deadline=until)
        return Ticket(known.id, True, until)

    def _make_room(self, connection: Connection, priority: Priority, now: float) -> Refused | None:
        """Return None when there is a place, if need be that of somebody less urgent; else why not."""
        if requests.count_pending(connection) < self.rules.size:
            return None
        lowest = requests.list_least_urgent(connection, 1)[0]
        if can_displace(lowest, priority):
            _shed(connection, lowest, now, f"the queue was full, and a {priority.name.lower()} request came")
            return None
        pace, earliest = (
            requests.count_finished_since(connection, now - 60.0),
            requests.find_earliest_deadline(connection),
        )
        hint = estimate_retry_seconds(pace, earliest, now)
        return Refused(
            f"the queue is full: {self.rules.size} requests as urgent are pending; ask again in {hint:.0f} s",
            retry_after=hint,
        )

    def _taken(self, connection: Connection, request: QueuedRequest, now: float) -> QueuedRequest:
        until = now + self.rules.lease_seconds
        values: dict[str, Any] = {"attempts": request.attempts + 1, "token": request.token + 1, "owner": self._owner}
        requests.update_request(connection, request, status="processing", lease_until=until, not_before=None, **values)
        return replace(request, status=RequestStatus.PROCESSING, lease_until=until, not_before=None, **values)

    def _newest_deadline(self, connection: Connection, claim: ClaimedRequest) -> float:
        """Return the deadline in force: somebody may have joined since the taking."""
        found = requests.find(connection, claim.request.id)
        return claim.request.deadline if found is None else found.deadline


def _end(
    connection: Connection,
    request: QueuedRequest,
    status: RequestStatus,
    now: float,
    error: str | None,
    result: Mapping[str, Any] | None = None,
) -> bool:
    values = {"error": error, "result": result, "lease_until": None, "finished_at": now}
    return requests.update_request(connection, request, status=status.value, **values)


def _shed(connection: Connection, request: QueuedRequest, now: float, why: str) -> None:
    _end(connection, request, RequestStatus.SHED, now, f"shed: {why}; ask again in a minute")


def _requeue(connection: Connection, request: QueuedRequest, until: float | None, why: str, attempts: int) -> bool:
    values = {"owner": None, "lease_until": None, "not_before": until, "error": why, "attempts": attempts}
    return requests.update_request(connection, request, status="pending", **values)
