"""Accounts whose time zone has changed at the platform, and what was stored under the former one.

A day has other hours in another zone, so what is stored of an account when its zone changes is no longer what it says:

| what is stored          | then                                                                                     |
|-------------------------|------------------------------------------------------------------------------------------|
| a day that is not final | is restated, so that the next warm or read fetches it again                              |
| a final day             | stays                                                                                    |
| each of them            | names the former zone in what it lacks, until it is fetched again                        |
| an entry                | is no longer fresh, also one of final days, so that it is built again with that name     |

So answers, `load_days`, the doctor and an alert name the days of a former zone.
"""

from collections.abc import Callable, Iterable, Sequence
from datetime import date, datetime
from typing import Final, NamedTuple

from sqlalchemy import Connection, Engine, case, func, literal, or_, select, update

from adwarm.model import Account
from adwarm.store.accounts import table as account
from adwarm.store.database import read_transaction, write_transaction
from adwarm.store.entries import table as entry
from adwarm.store.partitions import table as partition

Alert = Callable[[str, str, str], None]
"""Raises an alert, of a source, a kind and a text."""
_NAME: Final = "zone "
"""How the part of a description begins that names the former zone of a day; see `adwarm.prefetch.gap_filling`."""
_IS_NAMED = or_(partition.c.missing.startswith(_NAME), partition.c.missing.contains(f"; {_NAME}"))


class ZoneChange(NamedTuple):
    """An account and its former and present time zone."""

    account_id: str
    before: str
    after: str

    def __str__(self) -> str:
        return (
            f"{self.account_id}: its time zone changed from {self.before} to {self.after} at the platform; days that "
            "are not final are fetched again, and older ones stay counted in the former zone"
        )


class FormerDays(NamedTuple):
    """The stored days of an account that are counted in a former time zone of it."""

    account_id: str
    days: int
    first: date
    last: date


def note(connection: Connection, listed: Iterable[Account], at: datetime) -> list[ZoneChange]:
    """Mark what is stored of those accounts whose zone is another one than the stored, and return the changes.

    Call it in the transaction that stores the accounts, before they are stored. A zone that was a guess has no days.
    """
    zones = {item.id: item.data_zone for item in listed}
    changes: list[ZoneChange] = []
    names = sorted(zones)
    for start in range(0, len(names), 500):
        some = account.c.id.in_(names[start : start + 500])
        query = select(account.c.id, account.c.data_zone).where(some, account.c.currency != "")
        rows = connection.execute(query.order_by(account.c.id)).all()
        changes += [ZoneChange(row.id, row.data_zone, zones[row.id]) for row in rows if row.data_zone != zones[row.id]]
    for change in changes:
        _mark(connection, change, at)
    return changes


def note_fetched(engine: Engine, fetched: Account, at: datetime, alert: Alert) -> None:
    """Do the same for an account that was fetched, before it is stored, and raise an alert about a change."""
    with write_transaction(engine) as connection:
        changes = note(connection, [fetched], at)
    raise_alerts(changes, alert)


def raise_alerts(changes: Iterable[ZoneChange], alert: Alert) -> None:
    """Raise an alert about each change."""
    for change in changes:
        alert("accounts", "ZoneChanged", str(change))


def list_former_days(engine: Engine) -> Sequence[FormerDays]:
    """Return the days that are counted in a former zone, by account."""
    columns = partition.c.account_id, func.count(partition.c.day.distinct())
    query = select(*columns, func.min(partition.c.day), func.max(partition.c.day)).where(_IS_NAMED)
    with read_transaction(engine) as connection:
        rows = connection.execute(query.group_by(partition.c.account_id).order_by(partition.c.account_id))
        return [FormerDays(*row) for row in rows]


def _mark(connection: Connection, change: ZoneChange, at: datetime) -> None:
    own = partition.c.account_id == change.account_id, partition.c.fetched_at < at
    text = f"{_NAME}{change.before}: the day is counted in it, the account's time zone until {at:%Y-%m-%d}"
    named = case((partition.c.missing.is_(None), literal(text)), else_=partition.c.missing + f"; {text}")
    is_unnamed = or_(partition.c.missing.is_(None), ~_IS_NAMED)
    connection.execute(update(partition).where(*own, is_unnamed).values(missing=named))
    is_right_again = partition.c.missing.startswith(f"{_NAME}{change.after}: ")
    connection.execute(update(partition).where(*own, is_right_again).values(missing=None))
    connection.execute(update(partition).where(*own, partition.c.settled.is_(False)).values(restated_at=at))
    of_account = entry.c.account_id == change.account_id, entry.c.fetched_at < at
    connection.execute(update(entry).where(*of_account).values(expires_at=at, settled=False))
