"""What was verified, by UTC day and kind of data, and when a pass over everything began and ended."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from datetime import UTC, date, datetime

from sqlalchemy import BigInteger, Connection, Date, Engine, String, Table, delete, func, select

from adwarm.store.columns import key_column, metadata, value_column
from adwarm.store.database import add_up, read_transaction, write_transaction

# One row per UTC day and kind of data: what was verified. Maintenance deletes old rows.
table = Table(
    "integrity_day",
    metadata,
    key_column("day", Date),
    key_column("kind", String(16)),
    value_column("checked", BigInteger, 0),
    value_column("damaged", BigInteger, 0),
    value_column("healed", BigInteger, 0),
    value_column("bytes", BigInteger, 0),
)


_PASS_STARTED, _PASS_ENDED = "pass_started", "pass_ended"
"""Kinds of rows that count no data: a pass over everything began or ended on that day."""


@dataclass(frozen=True, slots=True)
class IntegrityCounts:
    """What was verified.

    Attributes:
        healed: damaged ones that whole data has replaced.
    """

    checked: int = 0
    damaged: int = 0
    healed: int = 0
    bytes: int = 0

    def __add__(self, other: "IntegrityCounts") -> "IntegrityCounts":
        """Return the sums."""
        return IntegrityCounts(*(getattr(self, name) + getattr(other, name) for name in _NAMES))


_NAMES = tuple(field.name for field in fields(IntegrityCounts))


@dataclass(frozen=True, slots=True)
class IntegrityTotals:
    """What was verified since a day.

    Attributes:
        kinds: the counts by kind of data, in alphabetical order.
        pass_started: the UTC day on which the last pass over everything began; None before the first.
        pass_ended: the UTC day on which the last whole pass ended; None before the first.
    """

    since: date
    kinds: dict[str, IntegrityCounts]
    pass_started: date | None = None
    pass_ended: date | None = None

    @property
    def total(self) -> IntegrityCounts:
        """The counts over all kinds."""
        return sum(self.kinds.values(), IntegrityCounts())


def add(engine: Engine, at: datetime, counts: Mapping[str, IntegrityCounts]) -> None:
    """Add counts by kind to the UTC day of `at`, in one transaction; without counts there is none."""
    if counts:
        with write_transaction(engine) as connection:
            add_within(connection, at, counts)


def add_within(connection: Connection, at: datetime, counts: Mapping[str, IntegrityCounts]) -> None:
    """Add counts by kind to the UTC day of `at`, within the caller's transaction."""
    day = at.astimezone(UTC).date()
    # In one order, so that two processes cannot wait for each other's rows.
    add_up(connection, table, [{"day": day, "kind": kind, **asdict(added)} for kind, added in sorted(counts.items())])


def record_pass(engine: Engine, at: datetime, *, ended: bool) -> None:
    """Note that a pass over everything began or ended."""
    add(engine, at, {_PASS_ENDED if ended else _PASS_STARTED: IntegrityCounts(checked=1)})


def get_totals(engine: Engine, since: datetime) -> IntegrityTotals:
    """Return the counts from the UTC day of `since` on, and the days of the last pass whenever that was."""
    first = since.astimezone(UTC).date()
    passes = (_PASS_STARTED, _PASS_ENDED)
    query = (
        select(table.c.kind, *(func.sum(table.c[name]) for name in _NAMES))
        .where(table.c.day >= first, table.c.kind.not_in(passes))
        .group_by(table.c.kind)
        .order_by(table.c.kind)
    )
    last = select(table.c.kind, func.max(table.c.day)).where(table.c.kind.in_(passes)).group_by(table.c.kind)
    with read_transaction(engine) as connection:
        kinds = {row[0]: IntegrityCounts(*map(int, row[1:])) for row in connection.execute(query)}
        days = {row[0]: row[1] for row in connection.execute(last)}
    return IntegrityTotals(first, kinds, days.get(_PASS_STARTED), days.get(_PASS_ENDED))


def delete_before(engine: Engine, before: date) -> int:
    """Delete the days before `before`, and return how many rows that were."""
    with write_transaction(engine) as connection:
        return int(connection.execute(delete(table).where(table.c.day < before)).rowcount)
