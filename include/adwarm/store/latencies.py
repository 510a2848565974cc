"""How long calls took, by hour or day and by what was done, in buckets; see `adwarm.model.Latencies`."""

from collections.abc import Mapping
from datetime import datetime

from sqlalchemy import Connection, Engine, bindparam, func, select, update

from adwarm.model import Latencies
from adwarm.store.database import insert_new, read_transaction
from adwarm.store.tables import latency_count as table

READ = "read"
"""Answering a reader of the read API or of the command line."""
LatencyKey = tuple[datetime, str]
"""First moment of an hour or of a day (UTC), and what was done."""
_ADD = (
    update(table)
    .where(table.c.since == bindparam("of_since"), table.c.operation == bindparam("of_operation"))
    .where(table.c.bucket == bindparam("of_bucket"))
    .values(count=table.c.count + bindparam("more"))
)


def add_latencies(connection: Connection, latencies: Mapping[LatencyKey, Latencies]) -> None:
    """Add to the counts, in the transaction of `connection`."""
    # In one order, so that two processes cannot wait for each other's rows.
    added = sorted((*key, bucket, count) for key, item in latencies.items() for bucket, count in item.counts.items())
    if added:
        insert_new(connection, table, [{"since": s, "operation": o, "bucket": b, "count": 0} for s, o, b, _ in added])
        changes = [{"of_since": s, "of_operation": o, "of_bucket": b, "more": more} for s, o, b, more in added]
        connection.execute(_ADD, changes)


def get_latencies(engine: Engine, since: datetime, until: datetime) -> dict[str, Latencies]:
    """Return the counts of the half-open window by what was done."""
    columns = (table.c.operation, table.c.bucket, func.sum(table.c.count))
    query = select(*columns).where(table.c.since >= since, table.c.since < until)
    counts: dict[str, dict[int, int]] = {}
    with read_transaction(engine) as connection:
        for operation, bucket, count in connection.execute(query.group_by(table.c.operation, table.c.bucket)):
            counts.setdefault(operation, {})[bucket] = int(count)
    return {operation: Latencies(by_bucket) for operation, by_bucket in counts.items()}
