"""What was verified, by UTC day and kind of data, and when a pass over everything began and ended."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import date, datetime

from sqlalchemy import Connection, Engine, func, select

from adwarm.store import amounts
from adwarm.store.database import read_transaction, write_transaction

_PASS = "integrity.pass"


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
        return IntegrityCounts(*(getattr(self, name) + getattr(other, name) for name in _NAMES.values()))


_NAMES = {f"integrity.{field.name}": field.name for field in fields(IntegrityCounts)}


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
    start = amounts.start_of_day(at)
    counted = {
        (start, name, kind): getattr(added, field) for kind, added in counts.items() for name, field in _NAMES.items()
    }
    amounts.add(connection, counted)


def record_pass(engine: Engine, at: datetime, *, ended: bool) -> None:
    """Note that a pass over everything began or ended."""
    with write_transaction(engine) as connection:
        amounts.add(connection, {(amounts.start_of_day(at), _PASS, "ended" if ended else "started"): 1})


def get_totals(engine: Engine, since: datetime) -> IntegrityTotals:
    """Return the counts from the UTC day of `since` on, and the days of the last pass whenever that was."""
    start, table = amounts.start_of_day(since), amounts.table.c
    kinds: dict[str, dict[str, int]] = {}
    for (name, kind), amount in amounts.get_totals(engine, _NAMES, start).items():
        kinds.setdefault(kind, {})[_NAMES[name]] = int(amount)
    last = select(table.subject, func.max(table.since)).where(table.name == _PASS).group_by(table.subject)
    with read_transaction(engine) as connection:
        days = {subject: moment.date() for subject, moment in connection.execute(last)}
    counts = {kind: IntegrityCounts(**kinds[kind]) for kind in sorted(kinds)}
    return IntegrityTotals(start.date(), counts, days.get("started"), days.get("ended"))
