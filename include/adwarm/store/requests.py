"""The request table: all SQL of the queue, within the caller's transaction.

A writing transaction calls `lock` first, so that counts are still correct when a row is written. Times are seconds
since the epoch by the database's clock. `adwarm.backpressure.request_queue` decides the transitions:

```
pending ──> processing                  a worker takes it
processing ──> completed | failed       the worker finishes, or the attempts are used up
processing ──> pending                  it is retried, or its worker's lease has expired
pending ──> shed                        the queue is full
pending | processing ──> expired        the deadline has passed, and no worker holds it
```
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any

from sqlalchemy import ColumnElement, Connection, Engine, Row, and_, delete, func, insert, or_, select, text, update
from sqlalchemy.schema import DefaultClause, Index
from sqlalchemy.types import BigInteger, Integer

from adwarm.model import Priority, ReportKey
from adwarm.store.columns import UtcDateTime, from_row, table_of, to_row
from adwarm.store.database import BATCH_ROWS, read_transaction

_TIMESTAMP_COLUMNS = frozenset({"enqueued_at", "deadline", "lease_until", "finished_at", "not_before"})


class RequestStatus(StrEnum):
    """The state of a request. The last four are final, and each of them except `completed` has an error."""

    PENDING = "pending"
    PROCESSING = "processing"
    COMPLETED = "completed"
    FAILED = "failed"
    EXPIRED = "expired"
    SHED = "shed"

    @property
    def is_final(self) -> bool:
        """Whether the request has ended."""
        return self not in {RequestStatus.PENDING, RequestStatus.PROCESSING}


_OPEN = (RequestStatus.PENDING, RequestStatus.PROCESSING)
_DEAD = (RequestStatus.FAILED, RequestStatus.EXPIRED, RequestStatus.SHED)


@dataclass(frozen=True, slots=True)
class QueuedRequest:
    """A queued request for a report."""

    id: int
    key: ReportKey
    priority: Annotated[Priority, Integer(), "Priority class, 0 for critical to 3 for low."]
    status: Annotated[RequestStatus, "How far it has come."]
    enqueued_at: Annotated[float, UtcDateTime(), "When it was enqueued."]
    deadline: Annotated[float, UtcDateTime(), "It is not started after this time."]
    attempts: Annotated[int, "How often a worker has started it."] = 0
    token: Annotated[
        int,
        BigInteger(),
        DefaultClause("0"),
        "Grows with every claim; a worker with an older one has lost the request.",
    ] = 0
    owner: Annotated[str | None, 80, "Worker that holds it."] = None
    lease_until: Annotated[float | None, UtcDateTime(), "When that worker's lease ends."] = None
    not_before: Annotated[float | None, UtcDateTime(), "Earliest time of the next attempt, after a wait."] = None
    error: Annotated[str | None, "Why the last attempt failed."] = None
    error_kind: Annotated[str | None, 40, "Class of that error; None without one, as when the worker died."] = None
    result: Annotated[Mapping[str, Any] | None, "Outcome of a completed request."] = None
    finished_at: Annotated[float | None, UtcDateTime(), "When it ended."] = None
    token_id: Annotated[str | None, 16, "Token of the read API that asked first; None for other callers."] = None


table = table_of(
    QueuedRequest,
    "request",
    Index(None, "status", "priority", "enqueued_at"),
    Index(None, "finished_at"),
    Index(None, "account_id", "date_range", "report", "id"),
    Index(
        "uq_request_in_flight",
        "account_id",
        "date_range",
        "report",
        unique=True,
        sqlite_where=text("status IN ('pending', 'processing')"),
        postgresql_where=text("status IN ('pending', 'processing')"),
    ),
    key=("id",),
    grows="requests",
    bound="100 pending; finished requests are deleted after 7 days",
)


def lock(connection: Connection) -> None:
    """Lock the queue for the rest of the transaction. SQLite's write transactions are exclusive already."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(7230116)"))


def insert_pending(
    connection: Connection,
    key: ReportKey,
    priority: Priority,
    now: float,
    deadline: float,
    token_id: str | None = None,
) -> int:
    """Insert a pending request and return its id; `token_id` is the token of the read API that requests it."""
    row = {
        **to_row(key),
        "priority": int(priority),
        "status": RequestStatus.PENDING,
        "enqueued_at": to_datetime(now),
        "deadline": to_datetime(deadline),
        "token_id": token_id,
    }
    return int(connection.execute(insert(table).values(**row).returning(table.c.id)).scalar_one())


def find(connection: Connection, request_id: int) -> QueuedRequest | None:
    """Return the request with this id."""
    row = connection.execute(select(table).where(table.c.id == request_id)).one_or_none()
    return None if row is None else _request(row)


def find_many(connection: Connection, ids: Collection[int]) -> list[QueuedRequest]:
    """Return the requests with these ids; unknown ids are left out."""
    rows = connection.execute(select(table).where(table.c.id.in_(ids)))
    return [_request(row) for row in rows]


def list_newest(
    connection: Connection, limit: int, ids: Collection[int] | None = None, before_id: int | None = None
) -> list[QueuedRequest]:
    """Return the newest requests of any status, newest first: of those with `ids`, and before `before_id`."""
    query = select(table).order_by(table.c.id.desc()).limit(limit)
    if ids is not None:
        query = query.where(table.c.id.in_(ids))
    if before_id is not None:
        query = query.where(table.c.id < before_id)
    return [_request(row) for row in connection.execute(query)]


def find_newest_completed(connection: Connection, key: ReportKey) -> QueuedRequest | None:
    """Return the request for the key that was completed last."""
    query = select(table).where(*_same_key(key), table.c.status == RequestStatus.COMPLETED)
    row = connection.execute(query.order_by(table.c.finished_at.desc(), table.c.id.desc()).limit(1)).one_or_none()
    return None if row is None else _request(row)


def find_in_flight(connection: Connection, key: ReportKey) -> QueuedRequest | None:
    """Return the pending or processing request for the key; there is at most one."""
    row = connection.execute(select(table).where(*_same_key(key), table.c.status.in_(_OPEN))).one_or_none()
    return None if row is None else _request(row)


def find_newest(connection: Connection, key: ReportKey) -> QueuedRequest | None:
    """Return the newest request for the key, of any status."""
    query = select(table).where(*_same_key(key)).order_by(table.c.id.desc()).limit(1)
    row = connection.execute(query).one_or_none()
    return None if row is None else _request(row)


def list_unfulfilled(engine: Engine, since: datetime, limit: int) -> tuple[list[QueuedRequest], int]:
    """Return the newest requests that ended since then without their report and are the last for it; and how many."""
    other = table.alias("other")
    # The greatest number is looked up in the index for each failed request, however many others there are.
    newest = (
        select(func.max(other.c.id))
        .where(
            other.c.account_id == table.c.account_id,
            other.c.date_range == table.c.date_range,
            other.c.report == table.c.report,
        )
        .scalar_subquery()
    )
    failed = table.c.status.in_(_DEAD)
    query = select(table, func.count().over().label("total"))
    query = query.where(failed, table.c.finished_at >= since, table.c.id == newest)
    with read_transaction(engine) as connection:
        rows = connection.execute(query.order_by(table.c.finished_at.desc(), table.c.id.desc()).limit(limit)).all()
    return [_request(row) for row in rows], rows[0].total if rows else 0


def as_of(request: QueuedRequest, now: float) -> QueuedRequest:
    """Return a request as it reads at `now`: a pending one past its deadline has expired."""
    if request.status is RequestStatus.PENDING and request.deadline <= now:
        return replace(request, status=RequestStatus.EXPIRED, error=request.error or "no worker took it in time")
    return request


def count_open_of_token(connection: Connection, token_id: str) -> int:
    """Return how many pending and processing requests a token has."""
    query = select(func.count()).where(table.c.status.in_(_OPEN), table.c.token_id == token_id)
    return int(connection.execute(query).scalar_one())


def count_pending(connection: Connection) -> int:
    """Return the number of pending rows."""
    query = select(func.count()).where(table.c.status == RequestStatus.PENDING)
    return int(connection.execute(query).scalar_one())


def find_earliest_deadline(connection: Connection) -> float | None:
    """Return the earliest deadline of the pending requests, or None."""
    query = select(func.min(table.c.deadline)).where(table.c.status == RequestStatus.PENDING)
    earliest: datetime | None = connection.execute(query).scalar_one()
    return None if earliest is None else earliest.timestamp()


def count_finished_since(connection: Connection, since: float) -> int:
    """Return how many requests were completed or failed since then."""
    processed = table.c.status.in_((RequestStatus.COMPLETED, RequestStatus.FAILED))
    query = select(func.count()).where(processed, table.c.finished_at >= to_datetime(since))
    return int(connection.execute(query).scalar_one())


def list_least_urgent(connection: Connection, limit: int) -> list[QueuedRequest]:
    """Return the pending requests to shed first: lowest class first, then newest first."""
    order = (table.c.priority.desc(), table.c.enqueued_at.desc(), table.c.id.desc())
    query = select(table).where(table.c.status == RequestStatus.PENDING).order_by(*order).limit(limit)
    return [_request(row) for row in connection.execute(query)]


def list_oldest_ready(connection: Connection, now: float, limit: int) -> list[QueuedRequest]:
    """Return up to `limit` pending requests of each class that may be taken now.

    The oldest come first; in the critical class those with the earliest deadline.
    """
    free = or_(table.c.not_before.is_(None), table.c.not_before <= to_datetime(now))
    ready: list[QueuedRequest] = []
    for priority in Priority:
        mine = (table.c.status == RequestStatus.PENDING, table.c.priority == int(priority), free)
        first = table.c.deadline if priority is Priority.CRITICAL else table.c.enqueued_at
        query = select(table).where(*mine).order_by(first, table.c.id).limit(limit)
        ready.extend(_request(row) for row in connection.execute(query))
    return ready


def list_overdue(connection: Connection, now: float) -> list[QueuedRequest]:
    """Return the pending requests past their deadline, and those whose worker's lease has expired."""
    late = and_(table.c.status == RequestStatus.PENDING, table.c.deadline <= to_datetime(now))
    query = select(table).where(or_(late, _lease_expired(now))).order_by(table.c.id)
    return [_request(row) for row in connection.execute(query)]


def list_open(connection: Connection) -> list[QueuedRequest]:
    """Return every pending or processing request, the oldest first."""
    query = select(table).where(table.c.status.in_(_OPEN)).order_by(table.c.enqueued_at, table.c.id)
    return [_request(row) for row in connection.execute(query)]


def update_request(connection: Connection, request: QueuedRequest, **values: Any) -> bool:
    """Write columns of a request if its status and token are unchanged; False if they are not. Times are in seconds."""
    row = {
        name: to_datetime(value) if name in _TIMESTAMP_COLUMNS and value is not None else value
        for name, value in values.items()
    }
    same = (table.c.id == request.id, table.c.status == request.status, table.c.token == request.token)
    return bool(connection.execute(update(table).where(*same).values(**row)).rowcount)


def delete_finished(connection: Connection, before: float) -> int:
    """Delete requests that ended before `before`, at most `BATCH_ROWS` of them, and return how many."""
    old = select(table.c.id).where(table.c.finished_at < to_datetime(before)).order_by(table.c.finished_at)
    return connection.execute(delete(table).where(table.c.id.in_(old.limit(BATCH_ROWS)))).rowcount


def to_datetime(seconds: float) -> datetime:
    """Return seconds since the epoch as a UTC datetime."""
    return datetime.fromtimestamp(seconds, UTC)


def _same_key(key: ReportKey) -> tuple[ColumnElement[bool], ...]:
    return (table.c.account_id == key.account_id, table.c.date_range == key.date_range, table.c.report == key.report)


def _lease_expired(now: float) -> ColumnElement[bool]:
    return and_(table.c.status == RequestStatus.PROCESSING, table.c.lease_until <= to_datetime(now))


def _request(row: Row[Any]) -> QueuedRequest:
    times = {name: row._mapping[name] for name in _TIMESTAMP_COLUMNS}
    seconds = {name: None if at is None else at.timestamp() for name, at in times.items()}
    return from_row(QueuedRequest, row, priority=Priority(row.priority), **seconds)
