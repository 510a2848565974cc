"""Leases: an owner, an expiry by the database's clock, and a fencing token that a write checks.

Whoever claims next judges the expiry, so a dead owner needs no sweeper. Tokens of a name only ever grow, so a holder
that slept past its expiry cannot overwrite its successor.

A lease also remembers the report that the platform is making for it, of what, and which pages of it were read: its next
holder takes that report up instead of asking for another one. It is announced before it is asked for, so that one that
was asked for and never noted down is known to be about. And it remembers what an interrupted fetch has learned, so that
splitting a request that was too large goes on where it was cut off.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime

from sqlalchemy import Connection, Engine, Update, select, update

from adwarm.store.database import database_time, insert_new, read_transaction, write_transaction
from adwarm.store.tables import lease as table


@dataclass(frozen=True, slots=True)
class Lease:
    """A claim on a name until `expires_at` (the database's clock)."""

    name: str
    owner: str
    token: int
    expires_at: datetime


_NO_REPORT: dict[str, object] = dict.fromkeys((
    "report_unit",
    "report_at",
    "report_run_id",
    "report_percent",
    "report_moved_at",
    "report_pages",
))


@dataclass(frozen=True, slots=True)
class PagesRead:
    """The pages of a finished report that were read before its reader had to stop.

    Attributes:
        cursor: where the next page begins; None before the first one.
        object_hash: the object that holds the rows; None when there are none yet.
        size: bytes of the pages.
        count: how many pages.
    """

    cursor: str | None = None
    object_hash: str | None = None
    size: int = 0
    count: int = 0


@dataclass(frozen=True, slots=True)
class SavedReport:
    """A report that is being made, or read.

    Attributes:
        unit: a hash of what it is of.
        at: when it was asked for.
        run_id: the platform's id, once that is known.
        percent: how far it was when somebody last waited for it.
        moved_at: since when it was that far.
        pages: what was read of it.
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
        too_large: why requests were too large, by the hashes of their units.
        listed: ids of the objects that a unit is about, by `hash:level`.
    """

    too_large: Mapping[str, str] = field(default_factory=dict)
    listed: Mapping[str, list[str]] = field(default_factory=dict)


def acquire(engine: Engine, name: str, owner: str, seconds: float) -> Lease | None:
    """Return a lease on `name`, or None while somebody else holds it."""
    with write_transaction(engine) as connection:
        now = database_time(connection)
        until = datetime.fromtimestamp(now + seconds, UTC)
        empty = {"name": name, "owner": "", "token": 0, "expires_at": datetime.fromtimestamp(0, UTC)}
        insert_new(connection, table, [empty])
        row = connection.execute(select(table).where(table.c.name == name).with_for_update()).one()
        if row.owner and row.owner != owner and row.expires_at.timestamp() > now:
            return None
        values = {"owner": owner, "token": row.token + 1, "expires_at": until}
        connection.execute(update(table).where(table.c.name == name).values(**values))
        return Lease(name, owner, row.token + 1, until)


def renew(engine: Engine, lease: Lease, seconds: float) -> bool:
    """Extend a lease that is still held; False when it was lost."""
    with write_transaction(engine) as connection:
        until = datetime.fromtimestamp(database_time(connection) + seconds, UTC)
        done = connection.execute(_update_if_owned(lease).values(expires_at=until))
        return bool(done.rowcount)


def release(engine: Engine, lease: Lease) -> None:
    """Give a lease back; one that was lost is left to its new owner."""
    with write_transaction(engine) as connection:
        connection.execute(_update_if_owned(lease).values(owner="", expires_at=datetime.fromtimestamp(0, UTC)))


def is_current(connection: Connection, lease: Lease) -> bool:
    """Whether the lease's token is still the newest; call it inside the transaction that publishes."""
    row = connection.execute(select(table.c.token).where(table.c.name == lease.name).with_for_update()).one_or_none()
    return row is not None and bool(row.token == lease.token)


def find_report(engine: Engine, lease: Lease) -> SavedReport | None:
    """Return the report that the lease remembers."""
    with read_transaction(engine) as connection:
        row = connection.execute(select(table).where(table.c.name == lease.name)).one_or_none()
    if row is None or row.report_unit is None:
        return None
    moved_at = row.report_moved_at or row.report_at
    pages = PagesRead(**row.report_pages) if row.report_pages else None
    return SavedReport(row.report_unit, row.report_at, row.report_run_id, row.report_percent or 0.0, moved_at, pages)


def announce_report(engine: Engine, lease: Lease, unit: str, at: datetime) -> bool:
    """Note down that a report of `unit` is about to be asked for; False when the lease was lost."""
    return _update_lease(engine, lease, **_NO_REPORT | {"report_unit": unit, "report_at": at})


def save_report_id(engine: Engine, lease: Lease, run_id: str) -> bool:
    """Note down the id of the report that was announced; False when the lease was lost."""
    return _update_lease(engine, lease, report_run_id=run_id)


def save_report_progress(engine: Engine, lease: Lease, percent: float, progressed_at: datetime) -> bool:
    """Note down how far the report was, and since when, for whoever waits next; False when the lease was lost."""
    return _update_lease(engine, lease, report_percent=percent, report_moved_at=progressed_at)


def clear_report(engine: Engine, lease: Lease) -> bool:
    """Forget the report: it was read, or ended badly; False when the lease was lost."""
    return _update_lease(engine, lease, **_NO_REPORT)


def save_pages(engine: Engine, lease: Lease, pages: PagesRead) -> bool:
    """Note which pages of the report were read; False when the lease was lost."""
    return _update_lease(engine, lease, report_pages=asdict(pages))


def find_hints(engine: Engine, lease: Lease, since: datetime) -> FetchHints:
    """Return what an earlier holder has learned after `since`."""
    with read_transaction(engine) as connection:
        found = connection.execute(select(table.c.learned).where(table.c.name == lease.name)).scalar_one_or_none()
    if not found or datetime.fromisoformat(found["at"]) < since:
        return FetchHints()
    return FetchHints(found["too_large"], found["listed"])


def save_hints(engine: Engine, lease: Lease, hints: FetchHints, at: datetime) -> bool:
    """Note what was learned, for whoever goes on with it; False when the lease was lost."""
    values = {"at": at.isoformat(), **asdict(hints)} if hints.too_large or hints.listed else None
    return _update_lease(engine, lease, learned=values)


def _update_lease(engine: Engine, lease: Lease, **values: object) -> bool:
    with write_transaction(engine) as connection:
        return bool(connection.execute(_update_if_owned(lease).values(**values)).rowcount)


def _update_if_owned(lease: Lease) -> Update:
    return update(table).where(table.c.name == lease.name, table.c.token == lease.token, table.c.owner == lease.owner)
