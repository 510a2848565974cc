"""Traffic by hour, account and actor: reads by result, their latency, and upstream calls."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, Engine, Label, Update, bindparam, case, func, select, update

from adwarm.foundation.clock import floor_to
from adwarm.model import Actor, Latencies
from adwarm.store.database import insert_new, read_transaction, write_transaction
from adwarm.store.latencies import READ, LatencyKey, add_latencies, get_latencies
from adwarm.store.tables import traffic_hour as table

_FIRST = ("first_opens", "first_hits")
_READS = ("hits", "stale", "misses", "latency_ms", *_FIRST)
_CALLS = ("errors", "upstream_calls", "throttles")
_COUNTS = ("hits", "stale", "misses", *_FIRST, *_CALLS)

TrafficKey = tuple[datetime, str, str]
"""First moment of an hour (UTC), account id, and actor."""


def increment(
    engine: Engine, at: datetime, account_id: str, actor: str, *, latency_ms: float | None = None, **counts: int
) -> None:
    """Add to the counts of the hour of `at`.

    Args:
        latency_ms: latency of the read in milliseconds; None for other counts.
        counts: any of hits, stale, misses, first_opens, first_hits, errors, upstream_calls and throttles.
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
        add_latencies(connection, took)


def add_counts(connection: Connection, counts: Mapping[TrafficKey, Mapping[str, float]]) -> None:
    """Add to the counts of hours, as `increment_many` does, in a transaction of the caller."""
    keys = sorted(counts)  # in one order, so that two processes cannot wait for each other's rows
    zero = {**dict.fromkeys(_COUNTS, 0), "latency_ms": 0.0}
    new = [{"hour": hour, "account_id": account, "actor": actor, **zero} for hour, account, actor in keys]
    changes = [
        {
            "in_hour": key[0],
            "of_account": key[1],
            "by_actor": key[2],
            **{f"more_{name}": counts[key].get(name, nothing) for name, nothing in zero.items()},
        }
        for key in keys
    ]
    insert_new(connection, table, new)
    connection.execute(_ADD, changes)


def get_day_start(now: datetime) -> datetime:
    """Return the first hour of "the last 24 hours": this hour and the 23 before it, wherever they are counted."""
    return floor_to(now, timedelta(hours=1)) - timedelta(hours=23)


def get_day_totals(engine: Engine, now: datetime) -> dict[str, Any]:
    """Return the counts of the last 24 hours; see `get_day_start` and `get_totals`."""
    return get_totals(engine, get_day_start(now), now + timedelta(hours=1))


def get_day_latency(engine: Engine, now: datetime) -> dict[str, Any]:
    """Return median and 95th percentile of the reads of the last 24 hours, in milliseconds; None without a read."""
    took = get_latencies(engine, get_day_start(now), now + timedelta(hours=1))
    return took.get(READ, Latencies()).to_dict("latency")


def get_totals(engine: Engine, since: datetime, until: datetime) -> dict[str, Any]:
    """Return the counts of the half-open window over all accounts; see `add_up`."""
    return add_up(list_hours(engine, since, until))


def list_hours(engine: Engine, since: datetime, until: datetime) -> list[Mapping[str, Any]]:
    """Return the counts by UTC hour of the half-open window over all accounts, the oldest first.

    Upstream calls, throttles and errors are those of all actors; reads exclude the warmer's own canaries.
    """
    of_readers = table.c.actor != Actor.WARMER.value
    columns = [_sum(name, of_readers) for name in _READS] + [_sum(name) for name in _CALLS]
    query = select(table.c.hour, *columns).where(table.c.hour >= since, table.c.hour < until).group_by(table.c.hour)
    with read_transaction(engine) as connection:
        return [dict(row._mapping) for row in connection.execute(query.order_by(table.c.hour))]


def add_up(hours: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the sums over some hours, and the mean latency of a read in milliseconds.

    `first_hit_ratio` is the share of first opens that found a fresh entry, None without one.
    """
    totals = {name: float(sum(hour[name] for hour in hours)) for name in (*_READS, *_CALLS)}
    reads = totals["hits"] + totals["stale"] + totals["misses"]
    latency = totals.pop("latency_ms")
    ratio = totals["first_hits"] / totals["first_opens"] if totals["first_opens"] else None
    return {**totals, "mean_latency_ms": latency / reads if reads else 0.0, "first_hit_ratio": ratio}


def iter_first_opens(engine: Engine, since: datetime, until: datetime) -> Iterator[tuple[str, datetime, int, int]]:
    """Yield account, hour, first opens by human and embedded readers, and those of them that found a fresh report.

    Hours start in the half-open window; hours without a first open are left out.
    """
    columns = (table.c.account_id, table.c.hour, func.sum(table.c.first_opens), func.sum(table.c.first_hits))
    query = (
        select(*columns)
        .where(table.c.hour >= since, table.c.hour < until, table.c.first_opens > 0)
        .where(table.c.actor.in_([actor.value for actor in Actor if actor.is_human]))
        .group_by(table.c.account_id, table.c.hour)
    )
    with read_transaction(engine) as connection:
        for account_id, hour, opens, hits in connection.execute(query):
            yield account_id, hour, int(opens), int(hits)


def _sum(name: str, condition: ColumnElement[bool] | None = None) -> Label[Any]:
    column = table.c[name] if condition is None else case((condition, table.c[name]), else_=0)
    return func.coalesce(func.sum(column), 0).label(name)


def _build_add() -> Update:
    same = (
        table.c.hour == bindparam("in_hour"),
        table.c.account_id == bindparam("of_account"),
        table.c.actor == bindparam("by_actor"),
    )
    added = {name: table.c[name] + bindparam(f"more_{name}") for name in (*_COUNTS, "latency_ms")}
    return update(table).where(*same).values(added)


_ADD = _build_add()
