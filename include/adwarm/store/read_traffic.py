"""Traffic by hour, account and actor: reads by result, their latency, and upstream calls."""

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Engine, Label, case, func, select, update

from adwarm.foundation.clock import floor_to
from adwarm.model import Actor
from adwarm.store.database import insert_new, read_transaction, write_transaction
from adwarm.store.tables import traffic_hour as table

_READS = ("hits", "stale", "misses", "latency_ms")
_CALLS = ("errors", "upstream_calls", "throttles")
_COUNTS = ("hits", "stale", "misses", *_CALLS)


def increment(
    engine: Engine, at: datetime, account_id: str, actor: str, *, latency_ms: float = 0.0, **counts: int
) -> None:
    """Add to the counts of the hour of `at`.

    Args:
        latency_ms: latency of the read in milliseconds.
        counts: any of hits, stale, misses, errors, upstream_calls and throttles.
    """
    hour = floor_to(at, timedelta(hours=1))
    key = {"hour": hour, "account_id": account_id, "actor": actor}
    zero = dict.fromkeys(_COUNTS, 0)
    changes: dict[str, Any] = {name: table.c[name] + counts[name] for name in _COUNTS if name in counts}
    with write_transaction(engine) as connection:
        insert_new(connection, table, [{**key, **zero, "latency_ms": 0.0}])
        connection.execute(
            update(table)
            .where(table.c.hour == hour, table.c.account_id == account_id, table.c.actor == actor)
            .values(latency_ms=table.c.latency_ms + latency_ms, **changes)
        )


def get_totals(engine: Engine, since: datetime, until: datetime) -> dict[str, float]:
    """Return the counts of the half-open window over all accounts, and the mean latency of a read.

    Upstream calls, throttles and errors are those of all actors; reads exclude the warmer's own canaries.
    """
    of_readers = table.c.actor != Actor.WARMER.value
    columns = [_sum(name, of_readers) for name in _READS] + [_sum(name) for name in _CALLS]
    query = select(*columns).where(table.c.hour >= since, table.c.hour < until)
    with read_transaction(engine) as connection:
        totals = {name: float(value) for name, value in connection.execute(query).one()._mapping.items()}
    reads = totals["hits"] + totals["stale"] + totals["misses"]
    latency = totals.pop("latency_ms")
    return {**totals, "mean_latency_ms": latency / reads if reads else 0.0}


def _sum(name: str, condition: ColumnElement[bool] | None = None) -> Label[Any]:
    column = table.c[name] if condition is None else case((condition, table.c[name]), else_=0)
    return func.coalesce(func.sum(column), 0).label(name)
