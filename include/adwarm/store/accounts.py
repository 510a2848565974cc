"""Accounts: zone, currency, connection and standing, read once from the upstream and kept.

Who was denied is in `denials`; an account stands as denied once every connection at hand was.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Engine, Row, select, update

from adwarm.model import Account, account_id
from adwarm.store.database import insert_new, reading, upsert, writing
from adwarm.store.tables import account as table

DENIED_FOR = timedelta(days=1)
"""An account that was denied is asked about again after this long: its owner may have given access."""


def get(engine: Engine, account_id: str) -> Account | None:
    """Return the account, or None when it has never been seen."""
    return many(engine, [account_id]).get(account_id)


def many(engine: Engine, ids: Sequence[str] | None = None) -> dict[str, Account]:
    """Return accounts by id: those in `ids` that are known, or all of them."""
    query = select(table).order_by(table.c.id)
    if ids is None:
        with reading(engine) as connection:
            return {row.id: _account(row) for row in connection.execute(query)}
    found: dict[str, Account] = {}
    with reading(engine) as connection:
        for start in range(0, len(ids), 500):
            part = query.where(table.c.id.in_(ids[start : start + 500]))
            found.update({row.id: _account(row) for row in connection.execute(part)})
    return found


def standing(engine: Engine, at: datetime) -> dict[str, Account]:
    """Return all accounts by id as they count at `at`: a denial older than `DENIED_FOR` no longer does."""
    query = select(table).order_by(table.c.id)
    with reading(engine) as connection:
        rows = connection.execute(query).all()
    return {row.id: _forgiven(row) if row.updated_at <= at - DENIED_FOR else _account(row) for row in rows}


def chosen(engine: Engine, asked: Sequence[str], at: datetime, default_zone: str) -> list[Account]:
    """Return the accounts that `asked` names, or all active ones when it names none.

    One that is not known yet stands in the default zone until the upstream tells its own.

    Raises:
        BadRequest: a name is no account id.
    """
    known = standing(engine, at)
    if not asked:
        return [found for found in known.values() if found.status == "active"]
    ids = [account_id(text) for text in asked]
    return [known.get(name) or Account(name, default_zone, default_zone, currency="") for name in ids]


def put(engine: Engine, accounts: Iterable[Account], at: datetime) -> None:
    """Store what the upstream says of accounts; the newest word wins."""
    rows = [_row(item, at) for item in accounts]
    with writing(engine) as connection:
        upsert(connection, table, rows, keep=("reader_zone",))


def discover(engine: Engine, accounts: Iterable[Account], at: datetime) -> None:
    """Store accounts seen in the access log, without a currency; those that are known stay as they are."""
    rows = [_row(item, at) for item in accounts]
    with writing(engine) as connection:
        insert_new(connection, table, rows)


def mark(engine: Engine, account_id: str, status: str, reason: str, at: datetime) -> None:
    """Set an account's standing: `active`, `denied` or `closed`, and why."""
    with writing(engine) as connection:
        connection.execute(
            update(table)
            .where(table.c.id == account_id)
            .values(status=status, status_reason=reason[:500], updated_at=at)
        )


def _forgiven(row: Row[Any]) -> Account:
    account = _account(row)
    return replace(account, status="active") if account.status == "denied" else account


def _account(row: Row[Any]) -> Account:
    return Account(row.id, row.data_zone, row.reader_zone, row.currency, row.connection, row.status)


def _row(item: Account, at: datetime) -> dict[str, Any]:
    return {
        "id": item.id,
        "connection": item.connection,
        "data_zone": item.data_zone,
        "reader_zone": item.reader_zone,
        "currency": item.currency,
        "status": item.status,
        "updated_at": at,
    }
