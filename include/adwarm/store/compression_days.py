"""Statistics of compression by UTC day and codec."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from datetime import UTC, date, datetime, time
from typing import Any

from sqlalchemy import BigInteger, Column, Date, Engine, Float, String, Table, select

from adwarm.model import CompressionCounts, Latencies
from adwarm.store.columns import key_column, metadata, value_column
from adwarm.store.database import add_up, read_transaction, write_transaction
from adwarm.store.read_traffic import add_latencies, get_latencies

# One row per UTC day and codec. Maintenance deletes old rows.
table = Table(
    "compression_day",
    metadata,
    key_column("day", Date),
    key_column("codec", String(16)),
    value_column("packed", BigInteger, 0),
    value_column("unpacked", BigInteger, 0),
    value_column("raw_bytes", BigInteger, 0),
    value_column("stored_bytes", BigInteger, 0),
    value_column("pack_seconds", Float, 0.0),
    value_column("unpack_seconds", Float, 0.0),
    value_column("errors", BigInteger, 0),
    Column("cache_hits", BigInteger, nullable=False, default=0, server_default="0"),
)


_NAMES = tuple(field.name for field in fields(CompressionCounts) if field.name in table.c)


@dataclass(frozen=True, slots=True)
class CompressionDay:
    """The counts of one codec on one UTC day."""

    day: date
    codec: str
    counts: CompressionCounts


@dataclass(frozen=True, slots=True)
class CompressionTotals:
    """The counts since a moment.

    Attributes:
        since: the first UTC day that is counted.
        codecs: the counts by codec, in alphabetical order.
    """

    since: date
    total: CompressionCounts
    codecs: dict[str, CompressionCounts]

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values: the totals, and the same of each codec in `codecs`."""
        codecs = [{"codec": name, **counts.to_dict()} for name, counts in self.codecs.items()]
        return {"since": self.since, **self.total.to_dict(), "codecs": codecs}


def add_counts(engine: Engine, at: datetime, counts: Mapping[str, CompressionCounts]) -> None:
    """Add counts by codec to the UTC day of `at`, in one transaction; without counts there is none."""
    day = at.astimezone(UTC).date()
    if not counts:
        return
    start = datetime.combine(day, time(), UTC)
    times = {(start, f"pack {codec}"): added.pack_latencies for codec, added in counts.items()}
    times |= {(start, f"unpack {codec}"): added.unpack_latencies for codec, added in counts.items()}
    with write_transaction(engine) as connection:
        # In one order, so that two processes cannot wait for each other's rows.
        rows = [
            {"day": day, "codec": codec, **{name: getattr(added, name) for name in _NAMES}}
            for codec, added in sorted(counts.items())
        ]
        add_up(connection, table, rows)
        add_latencies(connection, times)


def list_days(engine: Engine, since: date) -> list[CompressionDay]:
    """Return the days from `since` on, oldest first, by codec, without latencies."""
    query = select(table).where(table.c.day >= since).order_by(table.c.day, table.c.codec)
    with read_transaction(engine) as connection:
        return [
            CompressionDay(row.day, row.codec, CompressionCounts(**{name: getattr(row, name) for name in _NAMES}))
            for row in connection.execute(query)
        ]


def get_totals(engine: Engine, since: datetime) -> CompressionTotals:
    """Return the counts from the UTC day of `since` on."""
    first = since.astimezone(UTC).date()
    start, end = datetime.combine(first, time(), UTC), datetime.max.replace(tzinfo=UTC)
    took = get_latencies(engine, start, end)
    codecs: dict[str, CompressionCounts] = {}
    for item in list_days(engine, first):
        codecs[item.codec] = codecs.get(item.codec, CompressionCounts()) + item.counts
    for codec, counts in codecs.items():
        pack, unpack = (took.get(f"{operation} {codec}", Latencies()) for operation in ("pack", "unpack"))
        codecs[codec] = replace(counts, pack_latencies=pack, unpack_latencies=unpack)
    return CompressionTotals(first, sum(codecs.values(), CompressionCounts()), dict(sorted(codecs.items())))
