"""Amounts by time, name and subject: calls by cause, latencies, what was compressed and what was verified.

An amount is added to the one that is stored, so every process adds its own.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, time
from typing import Annotated, Final

from sqlalchemy import Connection, Engine, func, select
from sqlalchemy.schema import Index

from adwarm.model import Latencies
from adwarm.store.columns import table_of
from adwarm.store.database import add_up, read_transaction

AmountKey = tuple[datetime, str, str]
"""First moment of an hour or of a UTC day, name, and subject."""
LatencyKey = tuple[datetime, str]
"""First moment of an hour or of a UTC day, and what was done."""
READ: Final = "read"
"""Answering a reader of the read API or of the command line."""
_LATENCY = "latency"


@dataclass(frozen=True, slots=True)
class Amount:
    """How much of one thing there was in an hour or on a UTC day: calls, latencies, what was compressed or verified."""

    since: Annotated[datetime, "First moment of the hour, or of the UTC day."]
    name: Annotated[
        str,
        32,
        "`calls` to the platform in an hour; `latency` of the reads of an hour and the compressions of a day; "
        "`compression.` or `integrity.` with what was counted on a day, such as `compression.raw_bytes` or "
        "`integrity.damaged`; `integrity.pass` for a pass over everything that began or ended.",
    ]
    subject: Annotated[
        str,
        100,
        "What it is about. Of calls the cause, with the name of a strategy. Of a latency what was done (`read`, `pack` "
        "or `unpack` with the codec) and the bucket: `n` holds times from 1.1 to the power of `n` seconds to 1.1 times "
        "that. Of compression the codec: `identity` for payloads that were stored as they are, `unknown` for damaged "
        "envelopes. Of integrity `entry`, `partition`, `snapshot` or `aggregate`, and `started` or `ended` of a pass.",
    ]
    amount: Annotated[float, "How much, in the unit of the name."]


table = table_of(
    Amount,
    "amount",
    Index(None, "since"),
    key=("name", "since", "subject"),
    grows="hours times about 35, and days times about 200",
    bound="deleted after `ADWARM_RETENTION__TRAFFIC_DAYS`",
)


def start_of_day(at: datetime) -> datetime:
    """Return the first moment of the UTC day of `at`."""
    return datetime.combine(at.astimezone(UTC).date(), time(), UTC)


def add(connection: Connection, amounts: Mapping[AmountKey, float]) -> None:
    """Add amounts that are not 0, in the transaction of `connection`."""
    # In one order, so that two processes cannot wait for each other's rows.
    names = ("since", "name", "subject", "amount")
    added = sorted((*key, amount) for key, amount in amounts.items() if amount)
    add_up(connection, table, [dict(zip(names, values, strict=True)) for values in added])


def get_totals(
    engine: Engine, names: Collection[str], since: datetime, until: datetime | None = None
) -> dict[tuple[str, str], float]:
    """Return the sums of the half-open window by name and subject."""
    key = (table.c.name, table.c.subject)
    query = select(*key, func.sum(table.c.amount)).where(table.c.name.in_(names), table.c.since >= since).group_by(*key)
    if until is not None:
        query = query.where(table.c.since < until)
    with read_transaction(engine) as connection:
        return {(name, subject): amount for name, subject, amount in connection.execute(query)}


def latency_amounts(latencies: Mapping[LatencyKey, Latencies]) -> dict[AmountKey, float]:
    """Return latencies as amounts."""
    return {
        (since, _LATENCY, f"{operation} {bucket}"): count
        for (since, operation), item in latencies.items()
        for bucket, count in item.counts.items()
    }


def get_latencies(engine: Engine, since: datetime, until: datetime | None = None) -> dict[str, Latencies]:
    """Return the latencies of the half-open window by what was done."""
    counts: dict[str, dict[int, int]] = {}
    for (_, subject), count in get_totals(engine, {_LATENCY}, since, until).items():
        operation, _, bucket = subject.rpartition(" ")
        counts.setdefault(operation, {})[int(bucket)] = int(count)
    return {operation: Latencies(by_bucket) for operation, by_bucket in counts.items()}
