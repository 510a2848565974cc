"""Leases: an owner, an expiry by the database's clock, and a fencing token that writes check.

The next caller of `acquire` decides whether a lease has expired, so no sweeper is needed when an owner dies. The tokens
of a name only grow, so an owner that was paused past its expiry cannot overwrite its successor. That also holds for
names whose row maintenance has deleted: the row `FLOOR` keeps the greatest token of all deleted rows, and each new
token is greater than it.

| state                       | event                             | next state                        |
|-----------------------------|-----------------------------------|-----------------------------------|
| free, expired, or own lease | `acquire`                         | held by the caller, token + 1     |
| held by another owner       | `acquire`                         | unchanged; the caller gets None   |
| held, same owner and token  | `renew`                           | held until the new expiry         |
| held, same owner and token  | `release`                         | free, same token                  |
| owner or token changed      | `renew`, `release`, any save      | unchanged; `renew` returns False  |

A lease also stores the async report that the platform generates for it and the pages read so far, so that the next
owner continues with that report instead of requesting another one. The report is announced before it is requested, so
that one whose id was never stored is not forgotten. Finally it stores what an interrupted fetch has learned about
requests that are too large, so that splitting continues where it stopped.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import cache
from typing import Any

from sqlalchemy import Connection, Engine, Row, Update, bindparam, case, func, or_, select, update
from sqlalchemy.schema import Column, Table
from sqlalchemy.sql.dml import ReturningUpdate
from sqlalchemy.types import JSON, BigInteger, Float, String

from adwarm.store.columns import UtcDateTime, key_column, metadata, value_column
from adwarm.store.database import database_clock, insert_new, write_transaction

# Grows with accounts times queries times 30-day blocks. Maintenance deletes old rows; a floor lets tokens only grow.
table = Table(
    "lease",
    metadata,
    key_column("name", String(200)),
    value_column("owner", String(80)),
    value_column("token", BigInteger),
    value_column("expires_at", UtcDateTime()),
    Column("report_run_id", String(40)),
    Column("report_unit", String(16)),
    Column("report_at", UtcDateTime()),
    Column("report_percent", Float),
    Column("report_moved_at", UtcDateTime()),
    Column("report_pages", JSON),
    Column("learned", JSON),
)


FLOOR = "(floor)"
"""Name of the row whose token every new token exceeds."""
_LONG_AGO = datetime.fromtimestamp(0, UTC)


@dataclass(frozen=True, slots=True)
class PagesRead:
    """The pages of a finished async report that have been read.

    Attributes:
        cursor: cursor of the next page; None before the first one.
        object_hash: object with the rows; None when there are none yet.
        size: size of the pages in bytes.
    """

    cursor: str | None = None
    object_hash: str | None = None
    size: int = 0
    count: int = 0


@dataclass(frozen=True, slots=True)
class SavedReport:
    """An async report that is being generated or read.

    Attributes:
        unit: hash of the request.
        run_id: the platform's id; None until it is stored.
        percent: progress at the last poll, 0 to 100.
        progressed_at: when `percent` last changed.
    """

    unit: str
    requested_at: datetime
    run_id: str | None
    percent: float
    progressed_at: datetime
    pages: PagesRead | None = None


@dataclass(frozen=True, slots=True)
class FetchHints:
    """What an interrupted fetch has learned about its requests.

    Attributes:
        too_large: why a request was too large, by the hash of the request.
        listed: ids of the objects that a request covers, by `hash:level`.
    """

    too_large: Mapping[str, str] = field(default_factory=dict)
    listed: Mapping[str, list[str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Lease:
    """The exclusive right to work on `name` until `expires_at`, by the database's clock.

    Attributes:
        report: the async report that an earlier owner has stored, as it was when the lease was acquired; None without.
        learned: what an earlier owner has learned, as it was then; see `read_hints`.
    """

    name: str
    owner: str
    token: int
    expires_at: datetime
    report: SavedReport | None = field(default=None, compare=False, repr=False)
    learned: Mapping[str, Any] | None = field(default=None, compare=False, repr=False)


def acquire(engine: Engine, name: str, owner: str, seconds: float) -> Lease | None:
    """Return a lease on `name` for `seconds`, or None while another owner holds it."""
    with write_transaction(engine) as connection:
        take, names = _build_acquire(connection.dialect.name, seconds), {"lease_name": name, "new_owner": owner}
        row = connection.execute(take, names).one_or_none()
        if row is None:
            insert_new(connection, table, [{"name": name, "owner": "", "token": 0, "expires_at": _LONG_AGO}])
            row = connection.execute(take, names).one_or_none()
    if row is None:
        return None
    return Lease(name, owner, row.token, row.expires_at, report=read_report(row), learned=row.learned)


def renew(engine: Engine, lease: Lease, seconds: float) -> bool:
    """Extend a lease by `seconds` from now; False when it was lost."""
    return _update_lease(engine, lease, expires_at=database_clock(engine.dialect.name, seconds))


def release(engine: Engine, lease: Lease) -> None:
    """Release a lease. A lease that was lost stays with its new owner."""
    with write_transaction(engine) as connection:
        release_within(connection, lease)


def release_within(connection: Connection, lease: Lease) -> bool:
    """Release a lease inside the last transaction that publishes; False when it was lost, so that nothing may be."""
    own = {"lease_name": lease.name, "own_token": lease.token, "own_owner": lease.owner}
    return bool(connection.execute(_build_release(connection.dialect.name), own).rowcount)


def is_current(connection: Connection, lease: Lease) -> bool:
    """Whether the lease's token is still the newest; call it inside the transaction that publishes."""
    row = connection.execute(select(table.c.token).where(table.c.name == lease.name).with_for_update()).one_or_none()
    return row is not None and bool(row.token == lease.token)


def read_report(row: Row[Any]) -> SavedReport | None:
    """Return the async report in a row of leases, or None."""
    if row.report_unit is None:
        return None
    moved_at = row.report_moved_at or row.report_at
    pages = PagesRead(**row.report_pages) if row.report_pages else None
    percent = row.report_percent or 0.0
    return SavedReport(row.report_unit, row.report_at, row.report_run_id, percent, moved_at, pages=pages)


def save_report(engine: Engine, lease: Lease, report: SavedReport | None) -> bool:
    """Store the async report for the next owner, None when there is none any more; False when the lease was lost."""
    values = {
        "report_unit": report and report.unit,
        "report_at": report and report.requested_at,
        "report_run_id": report and report.run_id,
        "report_percent": report and report.percent,
        "report_moved_at": report and report.progressed_at,
        "report_pages": asdict(report.pages) if report and report.pages else None,
    }
    return _update_lease(engine, lease, **values)


def read_hints(learned: Mapping[str, Any] | None, since: datetime) -> FetchHints:
    """Return what an owner has learned after `since`, of what a lease has stored."""
    if not learned or datetime.fromisoformat(learned["at"]) < since:
        return FetchHints()
    return FetchHints(learned["too_large"], learned["listed"])


def save_hints(engine: Engine, lease: Lease, hints: FetchHints, at: datetime) -> bool:
    """Store what was learned for the next owner; False when the lease was lost."""
    values = {"at": at.isoformat(), **asdict(hints)} if hints.too_large or hints.listed else None
    return _update_lease(engine, lease, learned=values)


@cache
def _build_acquire(dialect: str, seconds: float) -> ReturningUpdate[Any]:
    """Return the statement that takes a free lease and returns its row; no row when it is held or does not exist."""
    # It changes a row that exists when it starts, so it reads a floor that is above every earlier deletion of that row.
    floors = table.alias("floors")
    floor = func.coalesce(select(floors.c.token).where(floors.c.name == FLOOR).scalar_subquery(), 0)
    token = case((floor > table.c.token, floor), else_=table.c.token) + 1
    owner = bindparam("new_owner", type_=String())
    is_free = or_(table.c.owner == "", table.c.owner == owner, table.c.expires_at <= database_clock(dialect))
    values = {"owner": owner, "token": token, "expires_at": database_clock(dialect, seconds)}
    return update(table).where(table.c.name == bindparam("lease_name"), is_free).values(values).returning(table)


@cache
def _build_release(dialect: str) -> Update:
    own = (table.c.token == bindparam("own_token"), table.c.owner == bindparam("own_owner"))
    free = {"owner": "", "expires_at": database_clock(dialect)}
    return update(table).where(table.c.name == bindparam("lease_name"), *own).values(free)


def _update_lease(engine: Engine, lease: Lease, **values: object) -> bool:
    own = (table.c.name == lease.name, table.c.token == lease.token, table.c.owner == lease.owner)
    with write_transaction(engine) as connection:
        return bool(connection.execute(update(table).where(*own).values(**values)).rowcount)
