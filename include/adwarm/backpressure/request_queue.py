"""The request queue: bounded, one request in flight per report, served by priority, and persistent.

Transitions of a request:

| from       | event                                                            | to                                   |
|------------|------------------------------------------------------------------|--------------------------------------|
| -          | `enqueue`, and the queue has room or a less urgent request       | pending                              |
| pending    | `enqueue` of an equal request                                    | pending, more urgent and later due   |
| pending    | `dequeue` in the order of `QueueRules.sort_key`                  | processing, under a lease            |
| pending    | its deadline passes                                              | expired                              |
| pending    | a more urgent request comes to a full queue                      | shed, the least urgent first         |
| processing | `ack` before the deadline                                        | completed                            |
| processing | `ack` after the deadline                                         | expired; the result is kept          |
| processing | `fail`                                                           | failed                               |
| processing | `requeue` with `retry_after`                                     | pending; the attempt does not count  |
| processing | `requeue` without it, or the lease expires: attempts are left    | pending                              |
| processing | the same, and no attempts are left                               | failed                               |

Guarantees: at most `queue_size` requests are pending. An accepted request ends as completed, failed, expired or shed,
with a reason unless completed. One worker at a time holds a request, and a worker that lost it cannot end it.

Each operation of `RequestQueue` is one short write transaction, and every time in it is the database's own. The rules
above it are pure. Times are seconds since the epoch.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection, Engine

from adwarm.backpressure.token_limits import TokenLimits
from adwarm.foundation.errors import BadRequest, Refused
from adwarm.model import Priority, ReportKey
from adwarm.settings import BackpressureSettings
from adwarm.store import requests
from adwarm.store.database import database_time, read_transaction, write_transaction
from adwarm.store.requests import QueuedRequest, RequestStatus

KEEP_ENDED = timedelta(days=7)
"""An ended request and its result can be looked up for this long: over a weekend, and more."""
_MAX_HINT_SECONDS = 60.0
_FIRST_BACKOFF_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class QueueRules:
    """The limits of the queue and the order in which it is served.

    The order does not change while requests wait: each class is worth `ageing_seconds` of waiting, so urgent requests
    overtake, and old ones are still served. Critical requests of callers that wait are served first.

    Attributes:
        timeout_seconds: time until the deadline of a request that no caller waits for.
        max_caller_wait_seconds: the longest time until the deadline of a request that a caller waits for.
        ageing_seconds: what a class is worth; a low request of six minutes comes before a new critical one.
        max_attempts: attempts after which a request fails, each with its retries.
        lease_seconds: a worker that does not renew for this long loses its requests.
    """

    size: int = 100
    timeout_seconds: float = 900.0
    max_caller_wait_seconds: float = 30.0
    ageing_seconds: float = 120.0
    max_attempts: int = 3
    lease_seconds: float = 30.0

    @classmethod
    def from_settings(cls, settings: BackpressureSettings) -> "QueueRules":
        """Return the rules in the settings."""
        return cls(
            size=settings.queue_size,
            timeout_seconds=settings.queue_timeout_seconds,
            max_caller_wait_seconds=settings.timeout_seconds,
            lease_seconds=settings.lease_seconds,
        )

    def sort_key(self, request: QueuedRequest) -> tuple[float, int]:
        """Return the key that requests are served by, the smallest first.

        A critical request is due at its deadline, which is so near when a caller waits for it that no old request can
        overtake it. The others are due a whole timeout after they came, whether a caller waits for them or not.
        """
        is_critical = request.priority is Priority.CRITICAL
        due_at = request.deadline if is_critical else request.enqueued_at + self.timeout_seconds
        return (due_at + int(request.priority) * self.ageing_seconds, request.id)

    def next_in_line(self, ready: Sequence[QueuedRequest], limit: int) -> list[QueuedRequest]:
        """Return the first request and up to `limit` - 1 more of its class, in the order in which they are served.

        A request that was attempted before is served alone, so that one that always fails takes no others with it.
        """
        line = sorted(ready, key=self.sort_key)
        if line and line[0].attempts:
            return line[:1]
        return [item for item in line if item.priority is line[0].priority and not item.attempts][:limit]

    def deadline(self, now: float, wait_seconds: float | None) -> float:
        """Return the deadline of a request whose caller waits `wait_seconds`; None means that no caller waits."""
        return now + (self.timeout_seconds if wait_seconds is None else min(wait_seconds, self.max_caller_wait_seconds))

    def is_exhausted(self, attempts: int) -> bool:
        """Whether a request with so many failed attempts is not attempted again."""
        return attempts >= self.max_attempts

    def backoff_seconds(self, attempts: int) -> float:
        """Return how long a request pauses after its n-th failed attempt, in seconds."""
        return _FIRST_BACKOFF_SECONDS * 2.0 ** max(0, attempts - 1)


def can_displace(lowest: QueuedRequest, newcomer: Priority) -> bool:
    """Whether the least urgent pending request is shed for a new one: only for one of a more urgent class."""
    return newcomer < lowest.priority


def estimate_retry_seconds(finished_last_minute: int, earliest_deadline: float | None, now: float) -> float:
    """Return after how many seconds the queue should have room: at its recent pace, or when the first request expires.

    The estimate is between one second and one minute.
    """
    by_pace = 60.0 / finished_last_minute if finished_last_minute else _MAX_HINT_SECONDS
    by_deadline = _MAX_HINT_SECONDS if earliest_deadline is None else earliest_deadline - now
    return max(1.0, min(by_pace, by_deadline, _MAX_HINT_SECONDS))


@dataclass(frozen=True, slots=True)
class ClassStatus:
    """One class of the queue; `oldest_seconds` is how long its oldest pending request has waited."""

    pending: int = 0
    processing: int = 0
    oldest_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class QueueStatus:
    """The queue at a point in time.

    Attributes:
        ready: ids of the requests that `dequeue` could return now, ascending.
        has_active_worker: whether a worker with a live lease holds any request.
    """

    size: int
    classes: dict[Priority, ClassStatus]
    ready: tuple[int, ...] = ()
    has_active_worker: bool = False

    @property
    def pending(self) -> int:
        """Number of requests that wait."""
        return sum(status.pending for status in self.classes.values())

    @property
    def oldest_seconds(self) -> float | None:
        """Since when the oldest of them waits; None without one."""
        return max((item.oldest_seconds for item in self.classes.values() if item.oldest_seconds), default=None)

    def to_dict(self) -> dict[str, Any]:
        """Return the counts as plain values."""
        by_class = {
            priority.name.lower(): {
                "pending": status.pending,
                "processing": status.processing,
                "oldest_seconds": status.oldest_seconds,
            }
            for priority, status in self.classes.items()
        }
        return {"size": self.size, "pending": self.pending, **by_class}


def summarize_queue(open_requests: Sequence[QueuedRequest], rules: QueueRules, now: float) -> QueueStatus:
    """Count the open requests by class; pending ones past their deadline are left out."""
    pending = [item for item in open_requests if item.status is RequestStatus.PENDING and item.deadline > now]
    processing = [item for item in open_requests if item.status is RequestStatus.PROCESSING]
    lapsed = [item for item in processing if (item.lease_until or 0.0) <= now]
    ready = [item for item in pending if (item.not_before or 0.0) <= now]
    return QueueStatus(
        rules.size,
        {priority: _class_status(priority, pending, processing, now) for priority in Priority},
        tuple(sorted(item.id for item in [*ready, *lapsed])),
        len(lapsed) < len(processing),
    )


def _class_status(
    priority: Priority, pending: Sequence[QueuedRequest], processing: Sequence[QueuedRequest], now: float
) -> ClassStatus:
    ages = [now - item.enqueued_at for item in pending if item.priority is priority]
    return ClassStatus(len(ages), sum(item.priority is priority for item in processing), max(ages, default=None))


def get_position(open_requests: Sequence[QueuedRequest], rules: QueueRules, request_id: int, now: float) -> int | None:
    """Return the position of a pending request in the order of service, from 1; None when it is not pending.

    Requests that pause before their next attempt come after those that are ready.
    """
    pending = [item for item in open_requests if item.status is RequestStatus.PENDING and item.deadline > now]
    line = sorted(pending, key=lambda item: ((item.not_before or 0.0) > now, rules.sort_key(item)))
    return next((number for number, item in enumerate(line, start=1) if item.id == request_id), None)


@dataclass(frozen=True, slots=True)
class Ticket:
    """A caller's reference to a request; `joined` when an equal one was open already."""

    id: int
    joined: bool
    deadline: float


@dataclass(frozen=True, slots=True)
class ClaimedRequest:
    """A request that this worker holds; `seconds_left` until its deadline, counted from the time it was dequeued."""

    request: QueuedRequest
    seconds_left: float


@dataclass(frozen=True, slots=True)
class _Failure:
    """Why an attempt ended without its report, and the class of its error if there was one."""

    reason: str
    kind: str | None = None


class RequestQueue:
    """Requests for reports in the table `request`. Safe to share between threads.

    Args:
        owner: names this process in leases.
        database_time: returns the time in seconds since the epoch; the database's own by default.
    """

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

    def enqueue(
        self,
        key: ReportKey,
        priority: Priority,
        *,
        wait_seconds: float | None = None,
        limits: TokenLimits | None = None,
    ) -> Ticket:
        """Add a request, or join an equal open one, which gets the more urgent class and the later deadline of both.

        Args:
            wait_seconds: how long the caller waits, cut to `max_caller_wait_seconds`; None when no caller waits.
            limits: of the token that requests it; None when no token does. They do not apply to a join.

        Raises:
            Refused: a limit of the token is reached (`code` says which), or the queue is full of requests that are as
                urgent; `retry_after` says when to try again.
            BadRequest: `wait_seconds` is not positive.
        """
        if wait_seconds is not None and not wait_seconds > 0:
            raise BadRequest(f"a caller cannot wait for {wait_seconds} s; write a number of seconds above 0")
        with write_transaction(self._engine) as connection:
            now = self._lock_and_sweep(connection)
            deadline = self.rules.deadline(now, wait_seconds)
            in_flight = requests.find_in_flight(connection, key)
            if in_flight:
                return self._join(connection, in_flight, priority, deadline)
            refusal = limits.find_refusal(connection, key, now) if limits else None
            refusal = refusal or self._make_room(connection, priority, now)
            if refusal is None:
                if limits:
                    limits.count_request(connection, key, now)
                token_id = limits.token_id if limits else None
                number = requests.insert_pending(
                    connection, key, priority, now=now, deadline=deadline, token_id=token_id
                )
                return Ticket(number, False, deadline)
        raise refusal  # after the commit, so that the sweep is kept

    def admit_call(self, key: ReportKey, limits: TokenLimits) -> None:
        """Count a call for a report that a token causes without a request.

        Raises:
            Refused: none is left of the token's day.
        """
        with write_transaction(self._engine) as connection:
            requests.lock(connection)
            limits.take_fetch(connection, key, self._time(connection))

    def dequeue(self, limit: int) -> list[ClaimedRequest]:
        """Take the next request, and up to `limit` - 1 more of its class, under one lease."""
        with write_transaction(self._engine) as connection:
            now = self._lock_and_sweep(connection)
            line = self.rules.next_in_line(requests.list_oldest_ready(connection, now, limit), limit)
            return [ClaimedRequest(self._claim(connection, item, now), item.deadline - now) for item in line]

    def renew(self, claims: Sequence[ClaimedRequest]) -> list[ClaimedRequest]:
        """Extend the leases of the claims that are still held, and return those."""
        with write_transaction(self._engine) as connection:
            requests.lock(connection)
            until = self._time(connection) + self.rules.lease_seconds
            return [claim for claim in claims if requests.update_request(connection, claim.request, lease_until=until)]

    def ack(self, claim: ClaimedRequest, result: Mapping[str, Any]) -> bool:
        """End a request with its result, as expired when it took too long; False when the claim was lost."""
        with write_transaction(self._engine) as connection:
            requests.lock(connection)
            now = self._time(connection)
            late_seconds = now - self._current_deadline(connection, claim)
            status, failure = RequestStatus.COMPLETED, None
            if late_seconds > 0:
                status = RequestStatus.EXPIRED
                failure = _Failure(f"it was done {late_seconds:.1f} s after its deadline; the answer is kept")
            return _end(connection, claim.request, status, now=now, failure=failure, result=dict(result))

    def fail(self, claim: ClaimedRequest, reason: str, *, error_kind: str | None = None) -> bool:
        """End a request that no further attempt would help; False when the claim was lost.

        Args:
            error_kind: class of its error, as `adwarm.foundation.errors.name_error` gives it.
        """
        failure = _Failure(reason, error_kind)
        with write_transaction(self._engine) as connection:
            requests.lock(connection)
            return _end(connection, claim.request, RequestStatus.FAILED, self._time(connection), failure)

    def requeue(
        self,
        claim: ClaimedRequest,
        reason: str,
        *,
        retry_after: float | None = None,
        error_kind: str | None = None,
    ) -> bool:
        """Return a request to the queue after a failed attempt; False when the claim was lost.

        When this attempt only has to wait, the error of an earlier attempt is kept: if the deadline passes, the request
        ends with that error.

        Args:
            retry_after: seconds to wait, as asked for by the upstream or the budget; the attempt does not count. None:
                the attempt counts, and the last one ends the request as failed.
            error_kind: class of the error of the attempt.
        """
        failure = _Failure(reason, error_kind)
        with write_transaction(self._engine) as connection:
            requests.lock(connection)
            now, request = self._time(connection), claim.request
            if retry_after is None and self.rules.is_exhausted(request.attempts):
                error = f"given up after {request.attempts} tries; the last: {failure.reason}"
                return _end(connection, request, RequestStatus.FAILED, now, _Failure(error, failure.kind))
            if retry_after is None:
                pause, attempts, earlier = self.rules.backoff_seconds(request.attempts), request.attempts, None
            else:
                # A longer pause than the timeout makes no difference: the request expires during it.
                pause = min(max(0.0, retry_after), self.rules.timeout_seconds)
                attempts = request.attempts - 1
                earlier = _earlier_failure(request) if attempts > 0 else None
            done = _requeue(connection, request, now + pause, earlier or failure, attempts)
            self._sweep(connection, now)
            return done

    def find(self, request_id: int) -> QueuedRequest | None:
        """Return a request as it is now; a pending one past its deadline reads as expired. None for an unknown id."""
        with read_transaction(self._engine) as connection:
            request, now = requests.find(connection, request_id), self._time(connection)
        return requests.as_of(request, now) if request else None

    def find_many(self, ids: Collection[int]) -> tuple[dict[int, QueuedRequest], float]:
        """Return requests by id as `find` does, unknown ids left out, and the current time."""
        with read_transaction(self._engine) as connection:
            queued, now = requests.find_many(connection, ids), self._time(connection)
        return {request.id: requests.as_of(request, now) for request in queued}, now

    def find_position(self, request_id: int) -> int | None:
        """Return the position of a pending request in the order of service; None when it is not pending."""
        with read_transaction(self._engine) as connection:
            return get_position(requests.list_open(connection), self.rules, request_id, self._time(connection))

    def list_newest(
        self, limit: int, ids: Collection[int] | None = None, before_id: int | None = None, now: float | None = None
    ) -> list[QueuedRequest]:
        """Return the newest requests, of any status; a pending one past its deadline reads as expired.

        `ids` and `before_id` narrow them down; `now` spares the statement that reads the database's clock.
        """
        with read_transaction(self._engine) as connection:
            at = self._time(connection) if now is None else now
            return [requests.as_of(item, at) for item in requests.list_newest(connection, limit, ids, before_id)]

    def find_newest_completed(self, key: ReportKey) -> QueuedRequest | None:
        """Return the newest completed request for a report; None when none is kept."""
        with read_transaction(self._engine) as connection:
            return requests.find_newest_completed(connection, key)

    def status(self) -> QueueStatus:
        """Return the pending and processing requests by class; pending ones past their deadline are left out."""
        with read_transaction(self._engine) as connection:
            return summarize_queue(requests.list_open(connection), self.rules, self._time(connection))

    def delete_old(self) -> int:
        """Delete requests that ended more than `KEEP_ENDED` ago, a batch of them, and return how many."""
        with write_transaction(self._engine) as connection:
            return requests.delete_finished(connection, self._time(connection) - KEEP_ENDED.total_seconds())

    def _lock_and_sweep(self, connection: Connection) -> float:
        """Lock the queue, bring it up to date, and return the current time."""
        requests.lock(connection)
        now = self._time(connection)
        self._sweep(connection, now)
        return now

    def _sweep(self, connection: Connection, now: float) -> None:
        """Expire late requests, take back those of dead workers, and shed what exceeds the size after that."""
        for request in requests.list_overdue(connection, now):
            if request.deadline <= now:
                cause = request.error or ("its worker died" if request.attempts else "no worker took it in time")
                failure = _Failure(f"past its deadline; {cause}", request.error_kind)
                _end(connection, request, RequestStatus.EXPIRED, now, failure)
            elif self.rules.is_exhausted(request.attempts):
                error = f"given up after {request.attempts} tries; the worker {request.owner} died during the last"
                _end(connection, request, RequestStatus.FAILED, now, _Failure(error))
            else:
                failure = _Failure(f"the worker {request.owner} died during it")
                _requeue(connection, request, None, failure, request.attempts)
        excess = requests.count_pending(connection) - self.rules.size
        for request in requests.list_least_urgent(connection, excess) if excess > 0 else []:
            _shed(connection, request, now, "requests came back to a full queue")

    def _join(self, connection: Connection, request: QueuedRequest, priority: Priority, deadline: float) -> Ticket:
        priority, deadline = min(request.priority, priority), max(request.deadline, deadline)
        requests.update_request(connection, request, priority=int(priority), deadline=deadline)
        return Ticket(request.id, True, deadline)

    def _make_room(self, connection: Connection, priority: Priority, now: float) -> Refused | None:
        """Make sure of room for one request, if need be by shedding a less urgent one; return the error if it fails."""
        if requests.count_pending(connection) < self.rules.size:
            return None
        lowest = requests.list_least_urgent(connection, 1)[0]
        if can_displace(lowest, priority):
            _shed(connection, lowest, now, f"the queue was full, and a {priority.name.lower()} request came")
            return None
        finished = requests.count_finished_since(connection, now - 60.0)
        retry_after = estimate_retry_seconds(finished, requests.find_earliest_deadline(connection), now)
        message = (
            f"the queue is full: {self.rules.size} requests as urgent are pending; ask again in {retry_after:.0f} s"
        )
        return Refused(message, retry_after=retry_after)

    def _claim(self, connection: Connection, request: QueuedRequest, now: float) -> QueuedRequest:
        until = now + self.rules.lease_seconds
        values: dict[str, Any] = {"attempts": request.attempts + 1, "token": request.token + 1, "owner": self._owner}
        requests.update_request(connection, request, status="processing", lease_until=until, not_before=None, **values)
        return replace(request, status=RequestStatus.PROCESSING, lease_until=until, not_before=None, **values)

    def _current_deadline(self, connection: Connection, claim: ClaimedRequest) -> float:
        """Return the deadline in force; another caller may have joined since the request was dequeued."""
        request = requests.find(connection, claim.request.id)
        return claim.request.deadline if request is None else request.deadline


def _end(
    connection: Connection,
    request: QueuedRequest,
    status: RequestStatus,
    now: float,
    failure: _Failure | None,
    result: Mapping[str, Any] | None = None,
) -> bool:
    values = {**_error_columns(failure), "result": result, "lease_until": None, "finished_at": now}
    return requests.update_request(connection, request, status=status.value, **values)


def _shed(connection: Connection, request: QueuedRequest, now: float, cause: str) -> None:
    _end(connection, request, RequestStatus.SHED, now, _Failure(f"shed: {cause}; ask again in a minute"))


def _requeue(
    connection: Connection, request: QueuedRequest, not_before: float | None, failure: _Failure, attempts: int
) -> bool:
    values = {"owner": None, "lease_until": None, "not_before": not_before, "attempts": attempts}
    values |= _error_columns(failure)
    return requests.update_request(connection, request, status="pending", **values)


def _error_columns(failure: _Failure | None) -> dict[str, Any]:
    return {"error": failure and failure.reason, "error_kind": failure and failure.kind}


def _earlier_failure(request: QueuedRequest) -> _Failure | None:
    return _Failure(request.error, request.error_kind) if request.error else None
