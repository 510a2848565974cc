"""Traffic by hour: reads by account, actor and result, how long they took, and calls by cause."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, Engine, Label, case, func, literal, select, union_all
from sqlalchemy.schema import Column, Index, Table
from sqlalchemy.types import Float, Integer, String

from adwarm.foundation.clock import Clock, floor_to
from adwarm.foundation.errors import NoCapacity, NotAdmitted, Refused, Throttled
from adwarm.model import Actor, CallCause, CauseKind, Latencies
from adwarm.store import amounts
from adwarm.store.amounts import READ, LatencyKey
from adwarm.store.columns import ACCOUNT_ID, UtcDateTime, key_column, metadata, value_column
from adwarm.store.database import add_up as add_rows
from adwarm.store.database import read_transaction, write_transaction

# Grows with hours times accounts times actors. Maintenance deletes old rows.
table = Table(
    "traffic_hour",
    metadata,
    key_column("hour", UtcDateTime()),
    key_column("account_id", ACCOUNT_ID),
    key_column("actor", String(16)),
    value_column("hits", Integer, 0),
    value_column("stale", Integer, 0),
    value_column("misses", Integer, 0),
    value_column("errors", Integer, 0),
    value_column("upstream_calls", Integer, 0),
    value_column("throttles", Integer, 0),
    value_column("postponed", Integer, 0),
    value_column("latency_ms", Float, 0.0),
    Column("first_opens", Integer, nullable=False, default=0, server_default="0"),
    Column("first_hits", Integer, nullable=False, default=0, server_default="0"),
    Index(None, "hour"),  # rows come in the order of hours, which the planner does not see in the primary key
)

_CALLS_BY_CAUSE = "calls"
_FIRST = ("first_opens", "first_hits")
_READS = ("hits", "stale", "misses", "latency_ms", *_FIRST)
_CALLS = ("errors", "upstream_calls", "throttles", "postponed")
_COUNTS = ("hits", "stale", "misses", *_FIRST, *_CALLS)

TrafficKey = tuple[datetime, str, str]
"""First moment of an hour (UTC), account id, and actor."""


def increment(
    engine: Engine, at: datetime, account_id: str, actor: str, *, latency_ms: float | None = None, **counts: int
) -> None:
    """Add to the counts of the hour of `at`.

    Args:
        latency_ms: latency of the read in milliseconds; None for other counts.
        counts: any of hits, stale, misses, first_opens, first_hits, errors, upstream_calls, throttles and postponed.
    """
    hour = floor_to(at, timedelta(hours=1))
    took = {} if latency_ms is None or actor == Actor.WARMER.value else {(hour, READ): Latencies.of(latency_ms / 1000)}
    increment_many(engine, {(hour, account_id, actor): {"latency_ms": latency_ms or 0.0, **counts}}, took)


def increment_many(
    engine: Engine, counts: Mapping[TrafficKey, Mapping[str, float]], took: Mapping[LatencyKey, Latencies]
) -> None:
    """Add to the counts of hours, and to latencies of reads, in one transaction; the names are those of `increment`."""
    with write_transaction(engine) as connection:
        add_counts(connection, counts)
        amounts.add(connection, amounts.latency_amounts(took))


def add_counts(connection: Connection, counts: Mapping[TrafficKey, Mapping[str, float]]) -> None:
    """Add to the counts of hours, as `increment_many` does, in a transaction of the caller."""
    zero = {**dict.fromkeys(_COUNTS, 0), "latency_ms": 0.0}
    rows = [
        {"hour": hour, "account_id": account, "actor": actor, **zero, **counts[hour, account, actor]}
        for hour, account, actor in sorted(counts)
    ]
    add_rows(connection, table, rows)


def get_day_start(now: datetime) -> datetime:
    """Return the first hour of "the last 24 hours": this hour and the 23 before it, wherever they are counted."""
    return floor_to(now, timedelta(hours=1)) - timedelta(hours=23)


def get_day_totals(engine: Engine, now: datetime) -> dict[str, Any]:
    """Return the counts of the last 24 hours; see `get_day_start` and `get_totals`."""
    return get_totals(engine, get_day_start(now), get_day_start(now) + timedelta(days=1))


def get_week_start(now: datetime) -> datetime:
    """Return the first hour of "the last 7 days": this hour and the 167 before it."""
    return get_day_start(now) - timedelta(days=6)


def get_week_totals(engine: Engine, now: datetime) -> dict[str, Any]:
    """Return the counts of the last 7 days; see `get_week_start` and `get_totals`."""
    return get_totals(engine, get_week_start(now), get_day_start(now) + timedelta(days=1))


def get_day_latency(engine: Engine, now: datetime) -> dict[str, Any]:
    """Return median and 95th percentile of the reads of the last 24 hours, in milliseconds; None without a read."""
    took = amounts.get_latencies(engine, get_day_start(now), now + timedelta(hours=1))
    return took.get(READ, Latencies()).to_dict("latency")


def get_totals(engine: Engine, since: datetime, until: datetime) -> dict[str, Any]:
    """Return the counts of the half-open window over all accounts; see `add_up`."""
    return add_up(list_hours(engine, since, until))


def list_hours(engine: Engine, since: datetime, until: datetime) -> list[Mapping[str, Any]]:
    """Return the counts by UTC hour of the half-open window over all accounts, the oldest first.

    Upstream calls, what was throttled or postponed, and errors are those of all actors; reads exclude the warmer's own
    canaries.
    """
    of_readers = table.c.actor != Actor.WARMER.value
    columns = [_sum(name, of_readers) for name in _READS] + [_sum(name) for name in _CALLS]
    query = select(table.c.hour, *columns).where(table.c.hour >= since, table.c.hour < until).group_by(table.c.hour)
    with read_transaction(engine) as connection:
        return [dict(row._mapping) for row in connection.execute(query.order_by(table.c.hour))]


def list_calls(engine: Engine, since: datetime) -> dict[str, int]:
    """Return the upstream calls since then by account; those about no account under an empty id."""
    query = select(table.c.account_id, func.sum(table.c.upstream_calls)).where(table.c.hour >= since)
    with read_transaction(engine) as connection:
        return {name: int(count) for name, count in connection.execute(query.group_by(table.c.account_id))}


def add_up(hours: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the sums over some hours, and the mean latency of a read in milliseconds.

    `first_hit_ratio` is the share of first opens that found a fresh entry, None without one.
    """
    totals = {name: float(sum(hour[name] for hour in hours)) for name in (*_READS, *_CALLS)}
    reads = totals["hits"] + totals["stale"] + totals["misses"]
    latency = totals.pop("latency_ms")
    ratio = totals["first_hits"] / totals["first_opens"] if totals["first_opens"] else None
    return {**totals, "mean_latency_ms": latency / reads if reads else 0.0, "first_hit_ratio": ratio}


def _sum(name: str, condition: ColumnElement[bool] | None = None) -> Label[Any]:
    column = table.c[name] if condition is None else case((condition, table.c[name]), else_=0)
    return func.coalesce(func.sum(column), 0).label(name)


@dataclass(frozen=True, slots=True)
class CauseCalls:
    """The calls of one cause."""

    cause: CallCause
    calls: int

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        return {
            "cause": str(self.cause.kind),
            "strategy": self.cause.strategy or None,
            "text": str(self.cause),
            "calls": self.calls,
        }


@dataclass(frozen=True, slots=True)
class CallCounts:
    """The calls of some hours.

    Attributes:
        made: all of them.
        causes: their causes, the most frequent first; the sum of their calls is `made`.
    """

    made: int
    causes: tuple[CauseCalls, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        return {"made": self.made, "causes": [item.to_dict() for item in self.causes]}


def count_calls(
    engine: Engine, at: datetime, account_id: str, cause: CallCause, *, calls: int, **failures: int
) -> None:
    """Count calls in a transaction of its own, as `count_calls_within` does."""
    with write_transaction(engine) as connection:
        count_calls_within(connection, at, account_id, cause, calls=calls, **failures)


def count_calls_within(
    connection: Connection, at: datetime, account_id: str, cause: CallCause, *, calls: int, **failures: int
) -> None:
    """Count calls in the hour of `at`: those of an account, and those of a cause. The one place that counts calls.

    Args:
        account_id: the account that they are about; empty: none.
        failures: as `count_refusals` returns them, and `errors`, fetches that have failed.
    """
    hour = floor_to(at, timedelta(hours=1))
    counts = {"upstream_calls": calls, **failures}
    if not any(counts.values()):
        return
    add_counts(connection, {(hour, account_id, Actor.WARMER.value): counts})
    if calls:
        amounts.add(connection, {(hour, _CALLS_BY_CAUSE, f"{cause.kind} {cause.strategy}".strip()): calls})


def count_refusals(error: BaseException | None) -> dict[str, int]:
    """Return what work that ended with `error` counts as: `throttles` by the platform, or `postponed` by adwarm."""
    return {
        "throttles": int(isinstance(error, Throttled)),
        "postponed": int(isinstance(error, NotAdmitted | Refused)),
    }


@contextmanager
def counting_refusals(engine: Engine, clock: Clock, account_id: str, cause: CallCause) -> Iterator[None]:
    """Count a block that a limit of the platform or of adwarm ends, in a transaction of its own."""
    try:
        yield
    except (NoCapacity, Refused) as error:
        count_calls(engine, clock.now(), account_id, cause, calls=0, **count_refusals(error))
        raise


def get_day_calls(engine: Engine, now: datetime) -> CallCounts:
    """Return the calls of the last 24 hours; see `get_day_start` and `get_calls`."""
    return get_calls(engine, get_day_start(now), get_day_start(now) + timedelta(days=1))


def get_week_calls(engine: Engine, now: datetime) -> CallCounts:
    """Return the calls of the last 7 days; see `get_week_start` and `get_calls`."""
    return get_calls(engine, get_week_start(now), get_day_start(now) + timedelta(days=1))


def get_calls(engine: Engine, since: datetime, until: datetime) -> CallCounts:
    """Return the calls of the half-open window and what caused them.

    Hours that were counted before there was a record of causes count as `unknown`.
    """
    of = amounts.table.c
    by_cause = select(of.subject, func.sum(of.amount)).group_by(of.subject)
    by_cause = by_cause.where(of.name == _CALLS_BY_CAUSE, of.since >= since, of.since < until)
    made = func.coalesce(func.sum(table.c.upstream_calls), 0)
    all_calls = select(literal(""), made).where(table.c.hour >= since, table.c.hour < until)
    with read_transaction(engine) as connection:
        calls = {subject: int(count) for subject, count in connection.execute(union_all(all_calls, by_cause))}
    total = calls.pop("")
    causes = [CauseCalls(_parse_cause(subject), count) for subject, count in calls.items()]
    causes.sort(key=lambda item: (-item.calls, item.cause))
    rest = total - sum(item.calls for item in causes)
    causes += [CauseCalls(CallCause(CauseKind.UNKNOWN), rest)] if rest else []
    return CallCounts(total, tuple(causes))


def _parse_cause(subject: str) -> CallCause:
    kind, _, strategy = subject.partition(" ")
    return CallCause(CauseKind(kind), strategy)
